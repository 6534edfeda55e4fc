import { existsSync } from 'node:fs'
import { Command, Option } from 'commander'
import { readConfig } from '../checkpoint/huggingface.js'
import { readBridgeFile } from '../convert/bridge-file.js'
import { readGgufModel } from '../convert/gguf-model.js'
import { DEFAULT_MODEL, locateModel } from '../convert/package.js'
import type { BridgeSet } from '../depth/bridge.js'
import type { Policy } from '../depth/policy.js'
import { depthHelp, measurementsOf, parseDepth } from '../depth/spec.js'
import { KV_TYPES, type KvType, kvElementBytes } from '../engine/cache/kv-type.js'
import { FileError } from '../errors.js'
import {
  activeParameterCount,
  type DepthCost,
  type DepthExtent,
  depthCost,
  depthExtent,
  type ModelSize,
  modelSize,
  parameterCount,
} from '../evaluate/cost.js'
import type { Family } from '../families/family.js'
import type { Hyperparameters } from '../families/hyperparameters.js'
import { familyByArchitecture, familyByModelType } from '../families/index.js'
import { type Cli, note, printJson, UsageError } from './cli.js'
import { addRevisionOption, fetchNamed, type RevisionOption } from './loading-line.js'
import { bytesText } from './progress-line.js'
import { printTable } from './table.js'
import { wholeNumber } from './values.js'

interface PlanOptions extends RevisionOption {
  readonly layers?: number
  readonly depth: string
  readonly context: number
  readonly maxTokens: number
  readonly kvType?: KvType
  readonly json?: boolean
}

/** Up to so many parameters a model is run in f32, and so is its cache. */
const SMALL_MODEL = 100_000_000

const EXAMPLES = `
Examples:
  $ shoal plan                                           the bundled model at full depth
  $ shoal plan ./checkpoint/config.json --depth unified:2x --context 2048
  $ shoal plan HuggingFaceTB/SmolLM2-135M-Instruct       fetches config.json only
  $ shoal plan --layers 32 --depth unified:3x,rule=reference
  $ shoal plan model.gguf --depth gap:0.8,from=10,every=4 --json

For an exit policy the figures are those of a token that runs every layer and every check; where a plan shrinks along the
sequence they are means over the tokens after the first.

Depths:
${depthHelp()}`

export function buildPlan(cli: Cli): Command {
  const command = new Command('plan')
    .description('What a depth means for a model: layers, parameters, FLOPs and KV bytes per token against full depth.')
    .argument(
      '[model]',
      'config.json, folder, GGUF file, bundled model, or model on the Hub; weights are not needed; default the bundled ripple-8m',
    )
    .usage('[MODEL] [options]')
  return addRevisionOption(command)
    .option('--layers <n>', 'number of layers, where there is no model', wholeNumber(1, 100_000))
    .option(
      '--depth <spec>',
      'what runs: full, exit:11, gap:0.8, layers:0,2,5, unified:2x, ..; all of them below',
      'full',
    )
    .option('--context <n>', 'tokens in the cache', wholeNumber(0), 1024)
    .option('--max-tokens <n>', 'tokens to generate, for plans that shrink along them', wholeNumber(2, 1_000_000), 128)
    .addOption(
      new Option(
        '--kv-type <type>',
        'type of the KV cache; default f32 up to 100 million parameters, else f16',
      ).choices(KV_TYPES),
    )
    .option('--json', 'print one JSON document and nothing else on stdout')
    .option('--verbose', 'show where an error comes from')
    .addHelpText('after', EXAMPLES)
    .action((model: string | undefined, options: PlanOptions) => plan(cli, model, options))
}

async function plan(cli: Cli, model: string | undefined, options: PlanOptions): Promise<void> {
  if (options.layers !== undefined) {
    if (model !== undefined) throw new UsageError('give either MODEL or --layers N')
    const policy = await announced(cli, options.depth, options.layers)
    const extent = depthExtent(policy, options.layers, options.maxTokens)
    if (options.json) {
      printJson(cli, {
        model: null,
        depth: policy.spec,
        total_layers: options.layers,
        layers: extent.layers,
        mean_layers: extent.meanLayers,
        checks: extent.checks,
      })
      return
    }
    printLayers(cli, policy, extent, options.layers)
    return
  }
  const { name, size } = await readSize(cli, model ?? DEFAULT_MODEL, options)
  const policy = await announced(cli, options.depth, size.layers)
  const kvType = options.kvType ?? (parameterCount(size) <= SMALL_MODEL ? 'f32' : 'f16')
  const cost = depthCost(size, policy, options.context, kvElementBytes(kvType), options.maxTokens)
  if (options.json) printJson(cli, planJson(name, policy, size, cost, options.context, kvType))
  else print(cli, name, policy, size, cost, options.context, kvType)
}

async function announced(cli: Cli, spec: string, layers: number): Promise<Policy> {
  const sets = new Map<string, BridgeSet>()
  for (const needed of measurementsOf(spec, { layers })) {
    if (needed.kind === 'bridges') sets.set(needed.path, await readBridgeFile(needed.path))
  }
  const policy = parseDepth(spec, { layers, bridges: (path) => sets.get(path) as BridgeSet })
  for (const line of policy.notes ?? []) note(cli, `note: ${line}`)
  return policy
}

/** Sizes from a config.json or from a GGUF file's header. */
async function readSize(cli: Cli, model: string, options: RevisionOption): Promise<{ name: string; size: ModelSize }> {
  const sizeOf = (family: Family, h: Hyperparameters): ModelSize => modelSize(h, family.tensors(h))
  const location = model.endsWith('.json') ? null : locateModel(await fetchNamed(cli, model, options, 'config'))
  if (location?.kind === 'gguf') {
    const { metadata, tensors } = await readGgufModel(location.path)
    const family = familyByArchitecture(metadata.string('general.architecture'), location.path)
    return { name: location.name, size: sizeOf(family, family.fromMetadata(metadata, new Set(tensors.keys()))) }
  }
  if (location === null && !existsSync(model)) throw new FileError(model, 'no such file', 'file_missing')
  const config = await readConfig(location?.path ?? model)
  const family = familyByModelType(config.string('model_type'), config.path)
  return { name: location?.name ?? model, size: sizeOf(family, family.fromConfig(config)) }
}

function planJson(
  model: string,
  policy: Policy,
  size: ModelSize,
  cost: DepthCost,
  context: number,
  kvType: KvType,
): object {
  const token = ({ parameters, flops, flopsWithChecks, kvBytes }: DepthCost['token']): object => ({
    parameters,
    flops,
    flops_with_checks: flopsWithChecks,
    kv_bytes: kvBytes,
  })
  return {
    model,
    parameters: parameterCount(size),
    active_parameters: activeParameterCount(size),
    depth: policy.spec,
    total_layers: size.layers,
    layers: cost.layers,
    mean_layers: cost.meanLayers,
    checks: cost.checks,
    context,
    cache_type: kvType,
    token: token(cost.token),
    full: token(cost.full),
    ratios: {
      layers: (cost.meanLayers ?? cost.layers.length) / size.layers,
      parameters: cost.parameterRatio,
      flops: cost.flopsRatio,
      flops_with_checks: cost.flopsRatioWithChecks,
      kv_bytes: cost.kvRatio,
    },
  }
}

function print(
  cli: Cli,
  name: string,
  policy: Policy,
  size: ModelSize,
  cost: DepthCost,
  context: number,
  kvType: KvType,
): void {
  const [all, active] = [parameterCount(size), activeParameterCount(size)]
  const used = active === all ? '' : `, ${(active / 1e6).toFixed(1)} million of them for a token`
  cli.stdout.write(`${name} · ${(all / 1e6).toFixed(1)} million parameters${used} · ${policy.spec}\n\n`)
  printLayers(cli, policy, cost, size.layers)
  const percent = (ratio: number): string => `${(100 * ratio).toFixed(1)}%`
  const million = (value: number): string => `${(value / 1e6).toFixed(1)}M`
  const rows = [
    ['per token', policy.spec, 'full', ''],
    ['parameters', million(cost.token.parameters), million(cost.full.parameters), percent(cost.parameterRatio)],
    ['FLOPs', million(cost.token.flops), million(cost.full.flops), percent(cost.flopsRatio)],
  ]
  if (cost.checks.length > 0) {
    const withChecks = million(cost.token.flopsWithChecks)
    rows.push(['FLOPs with checks', withChecks, million(cost.full.flops), percent(cost.flopsRatioWithChecks)])
  }
  rows.push([`KV cache, ${kvType}`, bytesText(cost.token.kvBytes), bytesText(cost.full.kvBytes), percent(cost.kvRatio)])
  cli.stdout.write('\n')
  printTable(cli, rows)
  cli.stdout.write(
    `\nwith ${context} tokens in the cache${cost.meanLayers === null ? '; at most, where a token never exits' : ''}\n`,
  )
}

function printLayers(cli: Cli, policy: Policy, extent: DepthExtent, total: number): void {
  const { layers, checks, stages, meanLayers } = extent
  const last = stages.at(-1)?.layers ?? layers
  const mark = (layer: number): string => (last.includes(layer) ? '█' : layers.includes(layer) ? '▒' : '░')
  cli.stdout.write(`${Array.from({ length: total }, (_, layer) => mark(layer)).join('')}\n`)
  cli.stdout.write(
    `${meanLayers === null ? 'at most ' : ''}${layers.length} of ${total} layers: ${layers.join(', ')}\n`,
  )
  if (stages.length > 1 && meanLayers !== null) {
    const tokens = stages.reduce((sum, stage) => sum + stage.tokens, 0)
    cli.stdout.write(
      `shrinking to ${last.length}: ${last.join(', ')}\n${meanLayers.toFixed(2)} on average over ${tokens} tokens\n`,
    )
  }
  if (checks.length > 0) cli.stdout.write(`checked after ${checks.join(', ')}\n`)
  if (policy.kind === 'skip' && layers.length < total) {
    cli.stdout.write(`the prompt runs ${policy.prompt === 'full' ? 'every layer' : 'these layers too'}\n`)
  }
}
