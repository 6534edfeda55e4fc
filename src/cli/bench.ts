import { Command } from 'commander'
import { parseDepth } from '../depth/spec.js'
import type { GenerationResult, Model } from '../engine/api.js'
import { InputError } from '../errors.js'
import { type Cli, note, printJson } from './cli.js'
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
}

/** One depth at one batch size. */
interface Case {
  readonly depth: string
  readonly batch: number
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

Rounds are interleaved: each runs every case once, and the figures are medians over the rounds. Prompts are token ids
drawn by a fixed seed, so text is not what is measured; depths of exit policies depend on it.`

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
  addModelOptions(command).addHelpText('after', EXAMPLES)
  return command.action((name: string | undefined, options: BenchOptions) =>
    withModel(cli, name, options, (model) => bench(cli, model, options), { slots: Math.max(...options.batch) }),
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
  const depths = [...new Set((options.depth ?? defaultDepths(layers)).map((spec) => parseDepth(spec, { layers }).spec))]
  const cases = options.batch.flatMap((batch) => depths.map((depth) => ({ depth, batch })))
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

function defaultDepths(layers: number): string[] {
  return layers < 4 ? ['full'] : ['full', 'unified:2x', 'gap:0.8']
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
  const rows = measured.map(([{ depth, batch }, samples]) => ({
    depth,
    batch,
    prefill_tokens_per_second: median(samples.map(({ prefill }) => prefill)),
    decode_tokens_per_second: median(samples.map(({ decode }) => decode)),
    mean_depth: median(samples.map(({ meanDepth }) => meanDepth)),
    row_layers_per_token: median(samples.map(({ rowLayersPerToken }) => rowLayersPerToken)),
    check_share: median(samples.map(({ checkShare }) => checkShare)),
  }))
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
    ['depth', 'batch', 'prefill tok/s', 'decode tok/s', 'against the first', 'mean depth', 'computed', 'checks'],
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
