import { Command } from 'commander'
import { stepMs } from '../depth/measurement.js'
import type { Plan, Policy } from '../depth/policy.js'
import type { GenerationResult, Model } from '../engine/api.js'
import { InputError, SpecError } from '../errors.js'
import { benchProfile } from './bench-profile.js'
import { type Cli, note, printJson } from './cli.js'
import { resolveDepth, withMeasuring } from './generation-options.js'
import { noteOtherDepths } from './made-for.js'
import { addModelOptions, type ModelOptions, withModel } from './model-options.js'
import { bar, createProgressLine } from './progress-line.js'
import { speedText } from './result.js'
import { printTable } from './table.js'
import { collect, numberList, wholeNumber } from './values.js'

interface BenchOptions extends ModelOptions {
  readonly depth?: string[]
  readonly batch: number[]
  readonly promptLength: number
  readonly maxTokens: number
  readonly rounds: number
  readonly profile?: boolean
}

/** One depth at one batch size. */
interface Case {
  readonly depth: string
  readonly batch: number
  readonly plan: Plan | null
  /** Of a plan that was chosen for a speedup in time: the target, and what is predicted for this batch size. */
  readonly speedup: { readonly target: number; readonly predicted: number } | null
}

interface Sample {
  /** Prompt tokens per second. */
  readonly prefill: number
  /** New tokens per second, all sequences together. */
  readonly decode: number
  readonly meanDepth: number
  readonly rowLayersPerToken: number
  readonly checkShare: number
}

const EXAMPLES = `
Examples:
  $ shoal bench                                          the bundled model: full, unified:2x, gap:0.8
  $ shoal bench model.gguf --depth full --depth unified:2x --batch 1,8 --rounds 7
  $ shoal bench --prompt-length 512 --max-tokens 16 --json
  $ shoal bench --profile --batch 1,2,8                  measure anew what a step costs; unified goes by that

Rounds are interleaved: each runs every case once, and the figures are medians over the rounds. Prompts are token ids
drawn by a fixed seed, so text is not what is measured; depths of exit policies depend on it. A speedup is delivered in
decode time, against full at the same batch. The default unified:2x is planned for the batch size that it is measured at.`

export function buildBench(cli: Cli): Command {
  const command = new Command('bench')
    .description('Measure prefill and decode tokens per second by depth and batch.')
    .argument('[model]', 'folder with a Hugging Face checkpoint, GGUF file, or name of a bundled model')
    .usage('[MODEL] [options]')
    .option(
      '--depth <spec>',
      'a depth to measure (may be given several times); default full, unified:2x, gap:0.8',
      collect,
    )
    .option('--batch <sizes>', 'sequences at once, such as 1,8', numberList, [1, 8])
    .option('--prompt-length <n>', 'tokens of each prompt', wholeNumber(1), 128)
    .option('--max-tokens <n>', 'new tokens of each sequence', wholeNumber(2), 64)
    .option('--rounds <n>', 'how often each case runs', wholeNumber(1), 3)
    .option('--profile', 'measure anew what a step costs at each batch size, keep and print it')
  addModelOptions(command).addHelpText('after', EXAMPLES)
  return command.action((name: string | undefined, options: BenchOptions) =>
    withModel(cli, name, options, (model) => (options.profile ? benchProfile : bench)(cli, model, options), {
      slots: Math.max(...options.batch),
    }),
  )
}

async function bench(cli: Cli, model: Model, options: BenchOptions): Promise<void> {
  const { layers } = model.hyperparameters
  const { promptLength, maxTokens, rounds } = options
  if (promptLength + maxTokens > model.context) {
    throw new InputError(
      `${promptLength} prompt tokens and ${maxTokens} new ones do not fit the context of ${model.context}`,
      'context_exceeded',
    )
  }
  const cases: Case[] = []
  const policies = new Map<string, Policy>()
  for (const batch of options.batch) {
    const depths = options.depth ?? defaultDepths(layers, batch)
    for (const depth of depths) {
      const policy = await policyOf(cli, model, depth, options.depth === undefined)
      const plan = (policy?.kind === 'skip' && policy.everyToken) || null
      if (policy === null || cases.some((c) => c.batch === batch && c.depth === policy.spec)) continue
      policies.set(policy.spec, policy)
      cases.push({ depth: policy.spec, batch, plan, speedup: await speedupAt(cli, model, policy, batch) })
    }
  }
  await noteOtherDepths(cli, model, [...policies.values()])
  const samples = new Map<Case, Sample[]>(cases.map((c) => [c, []]))
  const line = createProgressLine(cli)
  try {
    // The first round builds graphs and wakes the processor; it does not count.
    for (let round = 0; round <= rounds; round++) {
      for (const [i, c] of cases.entries()) {
        line.show(`${bar((round * cases.length + i) / ((rounds + 1) * cases.length))} ${c.depth}, batch ${c.batch}`)
        const sample = await measure(cli, model, c, options)
        if (round > 0) samples.get(c)!.push(sample)
      }
    }
  } finally {
    line.clear()
  }
  show(cli, model, options, [...samples])
}

function defaultDepths(layers: number, batch: number): string[] {
  return layers < 4 ? ['full'] : ['full', batch === 1 ? 'unified:2x' : `unified:2x,batch=${batch}`, 'gap:0.8']
}

/** Null where a default cannot be had on this machine, such as twice the speed of a very small model. */
async function policyOf(cli: Cli, model: Model, depth: string, isDefault: boolean): Promise<Policy | null> {
  try {
    return await resolveDepth(cli, model, depth)
  } catch (error) {
    if (!isDefault || !(error instanceof SpecError)) throw error
    note(cli, `note: ${error.message}`)
    return null
  }
}

async function speedupAt(cli: Cli, model: Model, policy: Policy, batch: number): Promise<Case['speedup']> {
  if (policy.kind !== 'skip' || policy.speedup === undefined || policy.everyToken === undefined) return null
  const { target } = policy.speedup
  const costs = await withMeasuring(cli, (measuring) => model.costs(batch, measuring))
  return { target, predicted: costs.fullMs / stepMs(costs, policy.everyToken.length) }
}

async function measure(cli: Cli, model: Model, { depth, batch }: Case, options: BenchOptions): Promise<Sample> {
  const { promptLength, maxTokens } = options
  const start = performance.now()
  const results = await Promise.all(
    Array.from({ length: batch }, (_, i) => {
      const ids = randomIds(promptLength, model.hyperparameters.vocabulary, i + 1)
      return model.generate(ids, { depth, maxTokens, ignoreEos: true, signal: cli.signal }).result
    }),
  )
  return toSample(results, performance.now() - start)
}

function toSample(results: readonly GenerationResult[], totalMs: number): Sample {
  // Sequences of a batch share the wall clock: the prompts are done when the slowest is.
  const prefillMs = Math.max(...results.map(({ timing }) => timing.prefillMs))
  const decodeMs = Math.max(...results.map(({ timing }) => timing.decodeMs))
  const tokens = sum(results.map((result) => result.tokens.length))
  // The prompt's own pass gives the first token of each sequence.
  const decoded = tokens - results.length
  const checkMs = sum(results.map((result) => result.checkMs))
  return {
    prefill: (sum(results.map((result) => result.promptTokens.length)) / prefillMs) * 1000,
    decode: (decoded / decodeMs) * 1000,
    meanDepth: sum(results.map((result) => result.meanDepth * result.tokens.length)) / tokens,
    rowLayersPerToken: sum(results.map((result) => result.rowLayers)) / tokens,
    checkShare: checkMs / totalMs,
  }
}

function show(cli: Cli, model: Model, options: BenchOptions, measured: readonly (readonly [Case, Sample[]])[]): void {
  const decode = new Map(measured.map(([c, samples]) => [c, median(samples.map((sample) => sample.decode))]))
  const fullAt = (batch: number): number | null => {
    const full = measured.find(([c]) => c.batch === batch && c.depth === 'full')
    return full === undefined ? null : decode.get(full[0])!
  }
  const rows = measured.map(([c, samples]) => ({
    depth: c.depth,
    batch: c.batch,
    prefill_tokens_per_second: median(samples.map(({ prefill }) => prefill)),
    decode_tokens_per_second: decode.get(c)!,
    mean_depth: median(samples.map(({ meanDepth }) => meanDepth)),
    row_layers_per_token: median(samples.map(({ rowLayersPerToken }) => rowLayersPerToken)),
    check_share: median(samples.map(({ checkShare }) => checkShare)),
    plan: c.plan,
    target: c.speedup?.target ?? null,
    predicted: c.speedup?.predicted ?? null,
    delivered: c.speedup && fullAt(c.batch) && decode.get(c)! / fullAt(c.batch)!,
  }))
  const speedups = rows.some(({ target }) => target !== null)
  const times = (value: number | null): string => (value === null ? '' : `${value.toFixed(2)}x`)
  if (options.json) {
    printJson(cli, {
      model: model.name,
      quantization: model.quantization,
      layers: model.hyperparameters.layers,
      prompt_length: options.promptLength,
      max_tokens: options.maxTokens,
      rounds: options.rounds,
      results: rows,
    })
    return
  }
  printTable(cli, [
    [
      'depth',
      'batch',
      'prefill tok/s',
      'decode tok/s',
      'against the first',
      'mean depth',
      'computed',
      'checks',
      ...(speedups ? ['target', 'predicted', 'delivered'] : []),
    ],
    ...rows.map((row) => {
      const base = rows.find(({ batch }) => batch === row.batch)!
      return [
        row.depth,
        String(row.batch),
        speedText(row.prefill_tokens_per_second),
        speedText(row.decode_tokens_per_second),
        `${(row.decode_tokens_per_second / base.decode_tokens_per_second).toFixed(2)}x`,
        row.mean_depth.toFixed(1),
        row.row_layers_per_token.toFixed(1),
        `${Math.round(row.check_share * 100)}%`,
        ...(speedups ? [times(row.target), times(row.predicted), times(row.delivered)] : []),
      ]
    }),
  ])
  const { layers } = model.hyperparameters
  cli.stdout.write(`\n${model.name} · ${model.quantization} · ${layers} layers · medians of ${options.rounds} rounds\n`)
  if (options.rounds < 3) note(cli, 'note: fewer than 3 rounds say little')
}

/** Ids of a small linear congruential generator: the same prompt on every machine. */
function randomIds(length: number, vocabulary: number, seed: number): number[] {
  let state = seed
  return Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * vocabulary)
  })
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}
