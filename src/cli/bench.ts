import { Command } from 'commander'
import { median, medianRatio } from '../calibrate/quantile.js'
import { stepMs } from '../depth/measurement.js'
import type { Plan } from '../depth/plan.js'
import type { Policy } from '../depth/policy.js'
import { workOf } from '../depth/same-layers.js'
import type { Model } from '../engine/api.js'
import { InputError } from '../errors.js'
import { type DecodeSample, measureDecode } from '../evaluate/speed-table/decode.js'
import { benchProfile } from './bench-profile.js'
import { addTableOptions, benchTable, type TableOptions } from './bench-table.js'
import { type Cli, NOTHING_KEPT, note, printJson, tellWhenStopped } from './cli.js'
import { resolveDepth, withMeasuring } from './generation-options.js'
import { noteOtherDepths } from './made-for.js'
import { addModelOptions, DEPTH_HELP, MODEL_HELP, type ModelOptions, withModel } from './model-options.js'
import { bar, createProgressLine } from './progress-line.js'
import { speedText } from './result.js'
import { printTable } from './table.js'
import { listOption, numberList, repeatable, wholeNumber } from './values.js'

interface BenchOptions extends ModelOptions, TableOptions {
  readonly depth?: string[]
  readonly profile?: boolean
}

/** One depth at one batch size. */
interface Case {
  readonly depth: string
  readonly batch: number
  readonly plan: Plan | null
  /** Cases of one run do the same, and are measured once. */
  readonly run: string
  /** Of a plan that was chosen for a speedup in time: the target, and what is predicted for this batch size. */
  readonly speedup: { readonly target: number; readonly predicted: number } | null
}

const EXAMPLES = `
Examples:
  $ shoal bench                                          the table of Unified Layer Skipping on the bundled model
  $ shoal bench model.gguf --speedup 2,3,5 --batch 1,8 --text chapter.txt
  $ shoal bench model.gguf --depth full --depth unified:2x --batch 1,8 --rounds 7
  $ shoal bench --prompt-length 512 --max-tokens 16 --json
  $ shoal bench --profile --batch 1,2,8                  measure anew what a step costs; unified goes by that

The table has targets x methods x batch sizes: quality, tokens per second of decoding and of prompt and output over all time
(as the paper, arXiv 2404.06954, counts), and the speedup that is delivered of each. Early exit stops every token after as
many layers as unified keeps. Quality is the perplexity of a text, and answers to the bundled rule tasks, generated.

Rounds are interleaved: each runs every case once, and the figures are medians over the rounds, ratios the medians of the
rounds' ratios. What runs the same layers is measured once. Prompts are token ids drawn by a fixed seed, so text is not what is
timed; depths of exit policies depend on it. A speedup is delivered in decode time, against full at the same batch. unified:2x of
the table is planned for the batch size that it is measured at.`

export function buildBench(cli: Cli): Command {
  const command = new Command('bench')
    .description(
      'Measure speed and quality of full depth, early exit, SkipDecode and unified at several target speedups.',
    )
    .argument('[model]', MODEL_HELP)
    .usage('[MODEL] [options]')
    .addOption(repeatable('--depth <spec>', `${DEPTH_HELP}; instead of the table`))
    .addOption(listOption('--batch <sizes>', 'sequences at once, such as 1,8', numberList, [1, 2, 8]))
    .option('--prompt-length <n>', 'tokens of each prompt', wholeNumber(1), 128)
    .option('--max-tokens <n>', 'new tokens of each sequence', wholeNumber(2), 64)
    .option('--rounds <n>', 'how often each case runs', wholeNumber(1), 3)
    .option('--profile', 'measure anew what a step costs at each batch size, keep and print it')
  addModelOptions(addTableOptions(command)).addHelpText('after', EXAMPLES)
  return command.action((name: string | undefined, options: BenchOptions) =>
    tellWhenStopped(
      cli,
      () => NOTHING_KEPT,
      () => withModel(cli, name, options, (model) => bench(cli, model, options), { slots: Math.max(...options.batch) }),
    ),
  )
}

async function bench(cli: Cli, model: Model, options: BenchOptions): Promise<void> {
  const { promptLength, maxTokens, rounds, depth: depths } = options
  if (options.profile) return benchProfile(cli, model, options)
  if (promptLength + maxTokens > model.context) {
    throw new InputError(
      `${promptLength} prompt tokens and ${maxTokens} new ones do not fit the context of ${model.context}`,
      'context_exceeded',
    )
  }
  if (depths === undefined) return benchTable(cli, model, options)
  const cases: Case[] = []
  const policies = new Map<string, Policy>()
  for (const batch of options.batch) {
    for (const depth of depths) {
      const policy = await resolveDepth(cli, model, depth)
      const plan = (policy.kind === 'skip' && policy.everyToken) || null
      if (cases.some((c) => c.batch === batch && c.depth === policy.spec)) continue
      policies.set(policy.spec, policy)
      const run = `${batch} ${workOf(policy)}`
      cases.push({ depth: policy.spec, batch, plan, run, speedup: await speedupAt(cli, model, policy, batch) })
    }
  }
  await noteOtherDepths(cli, model, [...policies.values()])
  const samples = new Map<string, DecodeSample[]>(cases.map(({ run }) => [run, []]))
  const runs = [...samples.keys()].map((run) => cases.find((c) => c.run === run)!)
  const line = createProgressLine(cli)
  try {
    // The first round builds graphs and wakes the processor; it does not count.
    for (let round = 0; round <= rounds; round++) {
      for (const [i, c] of runs.entries()) {
        line.show(`${bar((round * runs.length + i) / ((rounds + 1) * runs.length))} ${c.depth}, batch ${c.batch}`)
        const sample = await measureDecode(model, c.depth, c.batch, { promptLength, maxTokens, signal: cli.signal })
        if (round > 0) samples.get(c.run)!.push(sample)
      }
    }
  } finally {
    line.clear()
  }
  show(
    cli,
    model,
    options,
    cases.map((c) => [c, samples.get(c.run)!]),
  )
}

async function speedupAt(cli: Cli, model: Model, policy: Policy, batch: number): Promise<Case['speedup']> {
  if (policy.kind !== 'skip' || policy.speedup === undefined || policy.everyToken === undefined) return null
  const { target } = policy.speedup
  const costs = await withMeasuring(cli, (measuring) => model.costs(batch, measuring))
  return { target, predicted: costs.fullMs / stepMs(costs, policy.everyToken.length) }
}

function show(
  cli: Cli,
  model: Model,
  options: BenchOptions,
  measured: readonly (readonly [Case, DecodeSample[]])[],
): void {
  const decode = (samples: readonly DecodeSample[]): number[] => samples.map((sample) => sample.decode)
  const against = (samples: readonly DecodeSample[], batch: number, isBase: (c: Case) => boolean): number | null => {
    const base = measured.find(([c]) => c.batch === batch && isBase(c))
    return base === undefined ? null : medianRatio(decode(samples), decode(base[1]))
  }
  const rows = measured.map(([c, samples]) => ({
    depth: c.depth,
    batch: c.batch,
    prefill_tokens_per_second: median(samples.map(({ prefill }) => prefill)),
    decode_tokens_per_second: median(decode(samples)),
    mean_depth: median(samples.map(({ meanDepth }) => meanDepth)),
    row_layers_per_token: median(samples.map(({ rowLayersPerToken }) => rowLayersPerToken)),
    check_share: median(samples.map(({ checkShare }) => checkShare)),
    plan: c.plan,
    target: c.speedup?.target ?? null,
    predicted: c.speedup?.predicted ?? null,
    delivered: c.speedup && against(samples, c.batch, ({ depth }) => depth === 'full'),
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
    ...rows.map((row, i) => {
      const [c, samples] = measured[i]!
      return [
        row.depth,
        String(row.batch),
        speedText(row.prefill_tokens_per_second),
        speedText(row.decode_tokens_per_second),
        times(against(samples, c.batch, () => true)),
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
