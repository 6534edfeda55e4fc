import { type Command, Option } from 'commander'
import { QUANTIZATIONS, type Quantization } from '../checkpoint/tensor-type.js'
import type { LoadOptions, Model } from '../engine/api.js'
import { KV_TYPES, type KvType } from '../engine/cache/kv-type.js'
import { type Cli, note, UsageError } from './cli.js'
import { addRevisionOption, type RevisionOption, withLoadingLine } from './loading-line.js'
import { addOutputOptions, type OutputOptions } from './output-options.js'
import { byteSize, wholeNumber } from './values.js'

/** What MODEL may be, which is the first argument of every command that takes one. */
export const MODEL_HELP =
  'folder with a Hugging Face checkpoint, GGUF file, bundled model, or model on the Hub; default the bundled ripple-8m'

/** What SPEC may be. */
export const DEPTH_HELP =
  'what runs: full, exit:11, gap:0.8, layers:0,2,5, unified:2x; shoal plan --help has all of them'

/** Options that every command which runs a model has. */
export interface ModelOptions extends RevisionOption, OutputOptions {
  readonly quantization?: Quantization
  readonly kvType?: KvType
  readonly threads?: number
  readonly device: string
  readonly context?: number
  readonly kvMemory?: number
}

export function addModelOptions(command: Command): Command {
  addRevisionOption(command)
    .addOption(
      new Option(
        '--quantization <type>',
        'what a folder is converted to; default f32 up to 100 million parameters, q4_0 above',
      ).choices(QUANTIZATIONS),
    )
    .addOption(
      new Option('--kv-type <type>', 'type of the KV cache; default f32 for f32 models, f16 otherwise').choices(
        KV_TYPES,
      ),
    )
    .option(
      '--threads <n>',
      'threads that compute, always so many; default as many as others leave free',
      wholeNumber(1, 512),
    )
    .option('--device <name>', 'what computes; only cpu for now', 'cpu')
    .option(
      '--context <n>',
      "tokens that a sequence may hold; default the smaller of the model's and 4096",
      wholeNumber(1),
    )
    .option(
      '--kv-memory <size>',
      'memory of generations, beams and chats in the KV cache, such as 512M or 2G; default half of what is available',
      byteSize,
    )
  return addOutputOptions(command)
}

export function addDepthOption(command: Command): Command {
  return command.option('--depth <spec>', DEPTH_HELP)
}

/** Loads the model with progress and warnings on stderr. */
export async function openModel(
  cli: Cli,
  name: string | undefined,
  options: ModelOptions,
  extra: Pick<LoadOptions, 'slots' | 'onPass' | 'prefixCache' | 'process' | 'thread'> = {},
): Promise<Model> {
  if (options.device !== 'cpu') {
    throw new UsageError(`device ${options.device} is not available in this version, only cpu`)
  }
  const model = await withLoadingLine(cli, (progress) =>
    cli.loadModel(name, {
      ...(options.quantization === undefined ? {} : { quantization: options.quantization }),
      ...(options.kvType === undefined ? {} : { kvType: options.kvType }),
      ...(options.threads === undefined ? {} : { threads: options.threads }),
      ...(options.context === undefined ? {} : { context: options.context }),
      ...(options.kvMemory === undefined ? {} : { kvMemory: options.kvMemory }),
      ...(options.revision === undefined ? {} : { revision: options.revision }),
      // Most commands have nothing else to do.
      thread: false,
      ...extra,
      signal: cli.signal,
      progress,
    }),
  )
  for (const warning of model.warnings) note(cli, `warning: ${warning}`)
  return model
}

/** Opens a model for as long as `use` takes. */
export async function withModel<T>(
  cli: Cli,
  name: string | undefined,
  options: ModelOptions,
  use: (model: Model) => Promise<T>,
  extra: Pick<LoadOptions, 'slots' | 'onPass'> = {},
): Promise<T> {
  const model = await openModel(cli, name, options, extra)
  try {
    return await use(model)
  } finally {
    await model.dispose()
  }
}
