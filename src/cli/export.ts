import { fileURLToPath } from 'node:url'
import { Command, Option } from 'commander'
import { QUANTIZATIONS } from '../checkpoint/tensor-type.js'
import {
  checkFolds,
  EXPORT_FORMATS,
  type Exported,
  type ExportFormat,
  type ExportSource,
  type ExportTarget,
  exportModel,
  prepareExport,
} from '../convert/export.js'
import { DEFAULT_MODEL } from '../convert/package.js'
import type { Bridge } from '../depth/bridge.js'
import type { Plan } from '../depth/plan.js'
import type { Policy, SkipPolicy } from '../depth/policy.js'
import { everyTokenOf } from '../depth/same-layers.js'
import { measurementsOf, parseDepth } from '../depth/spec.js'
import type { Model } from '../engine/api.js'
import { InputError, printable, SpecError } from '../errors.js'
import { type PlanPerplexity, planPerplexity } from '../evaluate/plan-perplexity.js'
import { type Cli, NOTHING_KEPT, note, printJson, tellWhenStopped, throwIfStopped } from './cli.js'
import { announceDepth } from './generation-options.js'
import { addRevisionOption, fetchNamed, type RevisionOption } from './loading-line.js'
import { MODEL_HELP, type ModelOptions, withModel } from './model-options.js'
import { addOutputOptions, type OutputOptions } from './output-options.js'
import { bar, bytesText, createProgressLine } from './progress-line.js'
import { printTable } from './table.js'
import { readTextFile } from './text-input.js'
import { wholeNumber } from './values.js'

interface ExportCommandOptions extends Pick<ModelOptions, 'threads' | 'quantization'>, RevisionOption, OutputOptions {
  readonly depth?: string
  readonly format: ExportFormat
  readonly out: string
  readonly text?: string
  readonly limit: number
  readonly perplexity: boolean
  readonly force?: boolean
}

/** What is known before anything is written. */
interface Chosen {
  readonly policy: SkipPolicy
  readonly plan: Plan
  readonly bridges: readonly Bridge[]
  readonly perplexity: PlanPerplexity | null
  /** Said already when the model was loaded. */
  readonly warned: readonly string[]
}

/** Nothing is fitted on it. */
const SAMPLE = fileURLToPath(new URL('../../pretrained/sample.txt', import.meta.url))

const EXAMPLES = `
Examples:
  $ shoal export --depth unified:2x --format gguf -o half.gguf
  $ shoal export ./checkpoint --depth layers:0,1,2,5,6,7 --format hf -o ./checkpoint-6 --text chapter.txt
  $ shoal export ./checkpoint --depth plan:found.policy.json --format gguf --quantization q4_0 -o found-q4_0.gguf
  $ shoal export ./checkpoint --depth plan:fold.bridge.gguf --format gguf -o bridged.gguf
  $ shoal export model-q4_0.gguf --depth unified:1.5x,by=layers --format gguf -o smaller.gguf --no-perplexity

Bridges that were fitted with shoal bridge --on mlp are folded into the down projections below the gaps: the result has no
layer and no tensor more, and any program runs it.
The perplexity is measured on the same tokens three times: with every layer; with prompts at full depth and the plan after
them, as run does it and Unified Layer Skipping describes it; and with the plan everywhere, which is all that a checkpoint
without the other layers can do.`

export function buildExport(cli: Cli): Command {
  const command = new Command('export')
    .description(
      'Write a checkpoint that has only the layers of a plan, its bridges folded in, for transformers, vLLM or llama.cpp.',
    )
    .argument('[model]', MODEL_HELP)
    .usage('[MODEL] --depth SPEC --format hf|gguf -o OUT [options]')
  addRevisionOption(command)
    .option(
      '--depth <spec>',
      "what runs, one plan for all tokens: layers:0,2,5, unified:2x, plan:FILE; default the checkpoint's own",
    )
    .addOption(
      new Option('--format <format>', 'hf: a folder; gguf: a file').choices(EXPORT_FORMATS).makeOptionMandatory(),
    )
    .requiredOption('-o, --out <path>', 'the folder or file to write')
    .addOption(
      new Option(
        '--quantization <type>',
        'gguf from a folder: type of the matrices; default f32 up to 100 million parameters, q4_0 above',
      ).choices(QUANTIZATIONS),
    )
    .option('--text <file>', 'text for the perplexity; default a page that comes along')
    .option('--limit <n>', 'tokens of the text at most', wholeNumber(16), 2048)
    .option('--no-perplexity', 'do not measure what the plan costs')
    .option('--threads <n>', 'threads that compute; default all cores', wholeNumber(1, 1024))
    .option('--force', 'replace a checkpoint folder or file that exists')
  addOutputOptions(command).addHelpText('after', EXAMPLES)
  return command.action(async (name: string | undefined, options: ExportCommandOptions) => {
    const model = await fetchNamed(cli, name ?? DEFAULT_MODEL, options)
    await tellWhenStopped(
      cli,
      () => NOTHING_KEPT,
      () => runExport(cli, model, options),
    )
  })
}

async function runExport(cli: Cli, model: string, options: ExportCommandOptions): Promise<void> {
  const { format, out, quantization, force, threads } = options
  const target: ExportTarget = {
    format,
    path: out,
    ...(quantization !== undefined && { quantization }),
    ...(force !== undefined && { force }),
  }
  const source = await prepareExport(model, target)
  const text = options.text === undefined ? null : await readTextFile(options.text)
  const chosen = await choose(cli, model, source, text, options)
  throwIfStopped(cli)
  const line = createProgressLine(cli)
  const exported = await exportModel(model, chosen.plan, {
    ...target,
    bridges: chosen.bridges,
    ...(threads !== undefined && { threads }),
    card: { measured: cardLines(source, chosen, options) },
    signal: cli.signal,
    progress: (loaded, total) =>
      line.show(`writing ${out} ${bar(loaded / total)} ${bytesText(loaded)} of ${bytesText(total)}`),
  }).finally(() => line.clear())
  for (const warning of exported.warnings.filter((w) => !chosen.warned.includes(w))) note(cli, `warning: ${warning}`)
  show(cli, source, chosen, exported, options)
}

/** The plan of the SPEC, and what it costs; what either needs to know of the model is measured as run would load it. */
async function choose(
  cli: Cli,
  model: string,
  source: ExportSource,
  text: string | null,
  options: ExportCommandOptions,
): Promise<Chosen> {
  const unloaded = options.perplexity ? null : withoutModel(source, options.depth)
  if (unloaded !== null) return { ...planOf(unloaded, source), perplexity: null, warned: [] }
  const { threads } = options
  const loading: ModelOptions = {
    device: 'cpu',
    ...(threads !== undefined && { threads }),
    ...(source.quantization !== null && source.quantization !== 'stored' && { quantization: source.quantization }),
  }
  return withModel(
    cli,
    model,
    loading,
    async (loaded) => {
      const policy = await announceDepth(cli, loaded, options.depth)
      const chosen = planOf(policy, source)
      const perplexity = options.perplexity ? await measure(cli, loaded, chosen.policy, text, options) : null
      return { ...chosen, perplexity, warned: loaded.warnings }
    },
    { slots: 1 },
  )
}

/** The policy of a SPEC that asks nothing of the model but its layers: nobody should load a large one for that. */
function withoutModel({ layers, depth }: ExportSource, spec = depth): Policy | null {
  if (measurementsOf(spec, { layers }).length > 0) return null
  const policy = parseDepth(spec, { layers })
  // What comes from a file may have been made for another model.
  return policy.source === undefined && (policy.notes ?? []).length === 0 ? policy : null
}

/** @throws SpecError where the policy has no one plan, or one that leaves nothing out; UnsupportedError where bridges do not fold */
function planOf(policy: Policy, source: ExportSource): Pick<Chosen, 'policy' | 'plan' | 'bridges'> {
  const { name, layers } = source
  const plan = everyTokenOf(policy)
  if (plan === null || policy.kind !== 'skip') {
    throw new SpecError(
      `depth "${policy.spec}": decides while tokens run, and a checkpoint has one plan; use layers:A,B,.., unified:2x or plan:FILE`,
    )
  }
  if (plan.length === layers) {
    throw new SpecError(`depth "${policy.spec}": leaves no layer of ${name} out; shoal convert writes all of them`)
  }
  const { bridges = [] } = policy
  checkFolds(source, plan, bridges)
  return { policy, plan, bridges }
}

async function measure(
  cli: Cli,
  model: Model,
  policy: SkipPolicy,
  text: string | null,
  options: ExportCommandOptions,
): Promise<PlanPerplexity | null> {
  if (model.tokenizer === null) {
    if (text !== null) throw new InputError(`${model.name} has no tokenizer: leave --text out`)
    note(cli, 'note: without a tokenizer no perplexity is measured')
    return null
  }
  const line = createProgressLine(cli)
  try {
    return await planPerplexity(model, model.tokenizer, text ?? (await readTextFile(SAMPLE)), policy, {
      path: options.text ?? SAMPLE,
      maxTokens: options.limit,
      signal: cli.signal,
      onProgress: (done) => line.show(`measuring perplexity ${bar(done)}`),
    })
  } finally {
    line.clear()
  }
}

function textName({ text }: ExportCommandOptions): string {
  return text ?? "Shoal's sample text"
}

function cardLines(source: ExportSource, { perplexity }: Chosen, options: ExportCommandOptions): string[] {
  if (perplexity === null) return []
  const { full, plan, prompted, tokens } = perplexity
  const name = options.text === undefined ? textName(options) : 'a text'
  const figure = (value: number): string => value.toPrecision(4)
  return [
    `Perplexity on ${tokens} tokens of ${name}: ${figure(full.perplexity)} with every layer, ${figure(plan.perplexity)} with these, ${figure(prompted.perplexity)} where`,
    `${source.name} runs prompts with every layer and these after them.`,
  ]
}

function show(
  cli: Cli,
  source: ExportSource,
  { policy, plan, perplexity }: Chosen,
  exported: Exported,
  options: ExportCommandOptions,
): void {
  const { path, format, quantization, tensors, bytes, parameters, totalParameters, folded, warnings } = exported
  if (options.json) {
    printJson(cli, {
      model: source.name,
      out: path,
      format,
      quantization,
      depth: policy.spec,
      layers: plan,
      total_layers: source.layers,
      tensors,
      bytes,
      parameters,
      total_parameters: totalParameters,
      folded,
      perplexity: perplexity && { text: options.text ?? null, ...perplexity },
      warnings,
    })
    return
  }
  const size = `${count(parameters)} of ${count(totalParameters)} parameters · ${bytesText(bytes)}`
  cli.stdout.write(`${printable(path)} · ${plan.length} of ${source.layers} layers: ${plan.join(', ')} · ${size}\n`)
  if (folded.length > 0) cli.stdout.write(`bridges folded into the down projections of layers ${folded.join(', ')}\n`)
  if (perplexity !== null) showPerplexity(cli, perplexity, folded.length > 0, textName(options))
}

function count(parameters: number): string {
  return parameters >= 1e5 ? `${(parameters / 1e6).toFixed(1)}M` : String(parameters)
}

function showPerplexity(cli: Cli, perplexity: PlanPerplexity, bridged: boolean, text: string): void {
  const what = bridged ? 'the plan and its bridges' : 'the plan'
  const { full, prompted, plan, tokens, windows } = perplexity
  const row = (what: string, { perplexity, loss }: PlanPerplexity['full']): string[] => [
    what,
    perplexity.toPrecision(4),
    loss.toFixed(3),
    loss === full.loss ? '' : `${loss < full.loss ? '-' : '+'}${Math.abs(loss - full.loss).toFixed(3)}`,
  ]
  cli.stdout.write('\n')
  printTable(cli, [
    ['', 'perplexity', 'nats per token', 'change'],
    row('every layer', full),
    row(`${what} after prompts at full depth`, prompted),
    row(`${what} everywhere: what was written`, plan),
  ])
  cli.stdout.write(
    `\n${tokens} tokens of ${printable(text)} in ${windows === 1 ? 'one window, its first quarter the' : `${windows} windows, the first quarter of each its`} prompt.\n` +
      'Without the other layers prompts run the plan too; Unified Layer Skipping has them run every layer, which run does.\n',
  )
}
