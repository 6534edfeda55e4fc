import { Command, Option } from 'commander'
import { QUANTIZATIONS, type Quantization } from '../checkpoint/tensor-type.js'
import { convertModel, DEFAULT_MODEL, locateModel, openPackage } from '../convert/package.js'
import { printable } from '../errors.js'
import { type Cli, NOTHING_KEPT, note, printJson, tellWhenStopped, UsageError } from './cli.js'
import { addRevisionOption, fetchNamed, type RevisionOption, withLoadingLine } from './loading-line.js'
import { MODEL_HELP } from './model-options.js'
import { addOutputOptions, type OutputOptions } from './output-options.js'
import { bytesText } from './progress-line.js'

interface ConvertCommandOptions extends RevisionOption, OutputOptions {
  readonly out?: string
  readonly quantization?: Quantization
}

interface Converted {
  readonly path: string
  readonly name: string
  readonly quantization: string
  readonly bytes: number
  readonly warnings: readonly string[]
}

const EXAMPLES = `
Examples:
  $ shoal convert ./checkpoint -o model.gguf
  $ shoal convert ./checkpoint -o model-q4_0.gguf --quantization q4_0
  $ shoal convert ./checkpoint                           into the cache, where run looks for it
  $ shoal convert model.gguf -o model-q8_0.gguf --quantization q8_0
  $ shoal convert model-00001-of-00003.gguf -o model.gguf        the parts of a split file as one
  $ shoal convert HuggingFaceTB/SmolLM2-135M-Instruct -o smollm2.gguf

The file holds the tokenizer and the chat template; llama.cpp runs it too.`

export function buildConvert(cli: Cli): Command {
  const command = new Command('convert')
    .description(
      'Write the GGUF file of a Hugging Face folder, the one that run would keep in the cache; or a GGUF file in another type.',
    )
    .argument('[model]', MODEL_HELP)
    .usage('[MODEL] [options]')
    .option('-o, --out <file>', 'the file to write; default: into the cache')
  addRevisionOption(command).addOption(
    new Option(
      '--quantization <type>',
      'type of the matrices; default f32 up to 100 million parameters, q4_0 above',
    ).choices(QUANTIZATIONS),
  )
  addOutputOptions(command).addHelpText('after', EXAMPLES)
  return command.action(async (model: string | undefined, options: ConvertCommandOptions) => {
    const found = await fetchNamed(cli, model ?? DEFAULT_MODEL, options)
    const converted = await tellWhenStopped(
      cli,
      () => NOTHING_KEPT,
      () => convert(cli, found, options),
    )
    for (const warning of converted.warnings) note(cli, `warning: ${warning}`)
    const { path, name, quantization, bytes, warnings } = converted
    if (options.json) printJson(cli, { path, model: name, quantization, bytes, warnings })
    else cli.stdout.write(`${printable(path)} · ${quantization} · ${bytesText(bytes)}\n`)
  })
}

async function convert(cli: Cli, model: string, options: ConvertCommandOptions): Promise<Converted> {
  return withLoadingLine(cli, async (progress) => {
    const settings = {
      ...(options.quantization === undefined ? {} : { quantization: options.quantization }),
      signal: cli.signal,
      progress,
    }
    if (options.out === undefined && locateModel(model).kind === 'gguf') {
      throw new UsageError(`${model} is a GGUF file and runs as it is; -o FILE.gguf writes it in another type`)
    }
    if (options.out !== undefined) return await convertModel(model, options.out, settings)
    const { path, name, quantization, gguf, warnings } = await openPackage(model, settings)
    return { path, name, quantization, bytes: gguf.bytes, warnings }
  })
}
