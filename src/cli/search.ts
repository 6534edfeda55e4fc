import { existsSync } from 'node:fs'
import { basename } from 'node:path'
import { Command, InvalidArgumentError, Option } from 'commander'
import { type FoundPlans, type FoundTarget, findPlans, planPath, unifiedSpec } from '../calibrate/find-plans.js'
import { writePolicyFile } from '../calibrate/policy-write.js'
import { type SearchTexts, searchTexts, tokensOf } from '../calibrate/search-texts.js'
import type { PlanFile, PlanTexts } from '../depth/plan-file.js'
import type { Model } from '../engine/api.js'
import type { ForcedText } from '../engine/known-text.js'
import { comparePlans, type PlanComparison } from '../evaluate/plan-comparison.js'
import { interval, signed } from '../evaluate/report/format.js'
import { type Cli, NOTHING_KEPT, note, printJson, tellWhenStopped, UsageError } from './cli.js'
import { resolveDepth } from './generation-options.js'
import { addModelOptions, MODEL_HELP, type ModelOptions, withModel } from './model-options.js'
import { bar, createProgressLine } from './progress-line.js'
import { searchWithBridges } from './search-bridges.js'
import { type DynamicResult, fitAndCompare, showDynamic } from './search-dynamic.js'
import { searchHead, tellWritten } from './search-output.js'
import { printTable } from './table.js'
import { decimal, wholeNumber } from './values.js'

interface SearchOptions extends ModelOptions {
  readonly speedup: readonly number[]
  readonly texts: readonly string[]
  readonly out?: string
  readonly by?: 'time' | 'layers'
  readonly prompt: 'full' | 'plan'
  readonly samples: number
  readonly heldOut: number
  readonly window: number
  readonly promptShare: number
  readonly beam: number
  readonly seed: number
  readonly dynamic?: number
  readonly bridge?: true
  readonly rank?: number
}

/** Drawn texts, where the command does not say. */
const WITHOUT = { samples: 24, window: 128, promptShare: 0.25 } as const
const WITH_BRIDGES = { samples: 60, window: 256, promptShare: 0.125 } as const
type GivenOptions = Omit<SearchOptions, keyof typeof WITHOUT> & Partial<Pick<SearchOptions, keyof typeof WITHOUT>>

/** One target: what the search saw of it, and what it is worth on texts that the search did not see. */
export interface TargetResult {
  readonly found: FoundTarget
  readonly heldOut: PlanComparison
  readonly path: string | null
}

const EXAMPLES = `
Examples:
  $ shoal search --speedup 1.5 --texts prompts.jsonl -o mine.policy.json
  $ shoal run "Once upon a time" --depth plan:mine.policy.json
  $ shoal search ./checkpoint --speedup 1.25,1.5,2,3 --texts book.txt -o book.policy.json
  $ shoal search model.gguf --speedup 1.5 --bridge --texts news.txt prose.txt -o mine.bridge.gguf
  $ shoal search --speedup 1.25,1.5,2,3 --dynamic 2 --texts book.txt -o book.policy.json

A file of texts is plain text, or a .jsonl file of {"input", "output"}, {"text"}, {"tokens"} or {"prompt"} lines. Prompts run every
layer and what comes after them runs the plan, as in use. One part of the texts is searched on; the report is about the
other. With -o a search that is stopped goes on where it was when the same command is given again; with several targets
the files are named mine-1.5x.policy.json and so on.`

export function buildSearch(cli: Cli): Command {
  const command = new Command('search')
    .description('Find the plan for a target speedup on your own texts, and compare it with the balanced plan.')
    .argument('[model]', MODEL_HELP)
    .usage('[MODEL] --speedup S --texts FILE... [options]')
    .requiredOption('--speedup <list>', 'target speedup such as 1.5, or several with commas', speedups)
    .requiredOption('--texts <file...>', 'texts that the plan is chosen for')
    .option('-o, --out <file>', 'write the plan to this policy file, for --depth plan:FILE')
    .addOption(
      new Option('--by <what>', 'what a speedup is of; default time, as measured on this machine').choices([
        'time',
        'layers',
      ]),
    )
    .addOption(
      new Option('--prompt <what>', 'what prompts run: every layer, or the plan')
        .choices(['full', 'plan'])
        .default('full'),
    )
    .option('--samples <n>', 'texts that the search sees at most (24; with --bridge 60)', wholeNumber(1, 100_000))
    .option('--held-out <n>', 'texts for the report at most', wholeNumber(1, 100_000), 64)
    .option('--window <n>', 'tokens that plain text is cut into (128; with --bridge 256)', wholeNumber(4, 100_000))
    .option(
      '--prompt-share <x>',
      'share of a text that is its prompt, where the file does not say (0.25; with --bridge 0.125)',
      decimal(0, 1),
    )
    .option('--beam <n>', 'plans that go on from one size to the next', wholeNumber(1, 1000), 2)
    .option('--seed <n>', 'of the draw of texts', wholeNumber(0, 2 ** 32 - 1), 0)
    .option('--bridge', 'fit bridges over the gaps, and choose plan and bridges together; -o FILE.gguf')
    .option(
      '--rank <r>',
      'with --bridge: maps of lower rank, 2 r H multiply-adds in place of H x H',
      wholeNumber(1, 65_536),
    )
    .option('--dynamic <s>', 'also fit a policy that picks one of the plans per prompt, for this mean speedup', speedup)
  addModelOptions(command).addHelpText('after', EXAMPLES)
  return command.action((name: string | undefined, given: GivenOptions) => {
    const options = { ...(given.bridge ? WITH_BRIDGES : WITHOUT), ...given }
    return tellWhenStopped(
      cli,
      () => keptOf(options),
      () => search(cli, name, options),
    )
  })
}

/** What a stopped search leaves behind. */
function keptOf({ out }: SearchOptions): string {
  if (out === undefined) return 'nothing is kept: with -o FILE the same command goes on where it was'
  const journal = journalOf(out)
  return existsSync(journal) ? `${journal} keeps what was evaluated, and the same command goes on` : NOTHING_KEPT
}

/** Where evaluated sets are kept until the policy is written. */
function journalOf(out: string): string {
  return `${out}.search.jsonl`
}

async function search(cli: Cli, name: string | undefined, options: SearchOptions): Promise<void> {
  const { dynamic, speedup: targets, out } = options
  if (dynamic !== undefined && !(targets.includes(dynamic) && targets.length > 1)) {
    throw new UsageError(`--dynamic ${dynamic} must be one of several --speedup targets, whose plans it picks from`)
  }
  checkBridgeOptions(options)
  await withModel(
    cli,
    name,
    options,
    async (model) => {
      if (model.settings.depth !== undefined) {
        note(cli, `note: this checkpoint was made for ${model.settings.depth}; other layers do not do it justice`)
      }
      if (options.bridge) {
        await searchWithBridges(cli, model, out === undefined ? null : journalOf(out), options)
        return
      }
      const texts = await searchTexts(model, options.texts, { ...options, signal: cli.signal })
      if (texts.cut) note(cli, 'the texts are long: only the beginning of each file was read')
      const started = performance.now()
      const found = await find(cli, model, texts, options)
      let written = false
      try {
        const heldOut = model.planLosses(texts.heldOut, { prompt: options.prompt })
        const results: TargetResult[] = []
        let fitted: DynamicResult | null = null
        try {
          const losses = rememberer(async (plan) => heldOut.of(plan, { signal: cli.signal }))
          for (const target of found.targets) {
            const { plan, balanced } = target
            const comparison = await comparePlans(model, texts.heldOut, losses, { balanced, found: plan })
            const path = out === undefined ? null : planPath(out, targets.length > 1 ? `${target.target}x` : null)
            results.push({ found: target, heldOut: comparison, path })
          }
          if (dynamic !== undefined) {
            const passes = await heldOut.prompts(cli.signal)
            fitted = await fitAndCompare(model, texts, found, { losses, passes, target: dynamic, out })
          }
        } finally {
          await heldOut.dispose()
        }
        for (const result of results) {
          if (result.path !== null) await writePolicyFile(result.path, fileOf(model, texts, found, result, options))
        }
        if (fitted?.path) await writePolicyFile(fitted.path, fitted.file)
        written = true
        const seconds = (performance.now() - started) / 1000
        if (options.json) printJson(cli, resultJson(model, texts, found, results, fitted, options, seconds))
        else show(cli, model, texts, found, results, fitted, options, seconds)
      } finally {
        found.close(written)
      }
    },
    { slots: 8 },
  )
}

function checkBridgeOptions({ bridge, rank, dynamic, out }: SearchOptions): void {
  if (!bridge) {
    if (rank !== undefined) throw new UsageError('--rank is for --bridge')
    return
  }
  if (dynamic !== undefined)
    throw new UsageError('--dynamic picks from plans without bridges; leave out --bridge or --dynamic')
  if (out !== undefined && !out.endsWith('.gguf'))
    throw new UsageError('with --bridge, -o FILE must end in .gguf: bridges are a GGUF file')
}

async function find(cli: Cli, model: Model, texts: SearchTexts, options: SearchOptions): Promise<FoundPlans> {
  const { speedup: targets, out } = options
  const journal = out === undefined ? null : journalOf(out)
  // Measured before, so that the bar below is not in its way.
  for (const target of targets) await resolveDepth(cli, model, unifiedSpec(target, options.by))
  const line = createProgressLine(cli)
  let started = performance.now()
  let current = Number.NaN
  try {
    return await findPlans(model, texts, options, {
      targets,
      prompt: options.prompt,
      beam: options.beam,
      journal,
      signal: cli.signal,
      ...(options.by === undefined ? {} : { by: options.by }),
      onKept: (sets) => note(cli, `going on with ${sets} plans that ${journal} holds`),
      onProgress: ({ target, tried, left }) => {
        if (target !== current) started = performance.now()
        current = target
        const seconds = Math.round(((performance.now() - started) / tried) * left * 0.001)
        const wait = seconds < 90 ? `${seconds} s` : `${Math.round(seconds / 60)} min`
        line.show(`${target}x ${bar(tried / (tried + left))} ${Math.round(tried)} plans tried · ${wait} left at most`)
      },
    })
  } finally {
    line.clear()
  }
}

/** Full depth and the balanced sets are asked for more than once. */
function rememberer<T>(losses: (plan: readonly number[]) => Promise<T>): (plan: readonly number[]) => Promise<T> {
  const known = new Map<string, Promise<T>>()
  return (plan) => {
    const key = plan.join()
    const value = known.get(key) ?? losses(plan)
    known.set(key, value)
    return value
  }
}

function fileOf(
  model: Model,
  texts: SearchTexts,
  found: FoundPlans,
  { found: target, heldOut }: TargetResult,
  { by = 'time', prompt, texts: files }: SearchOptions,
): PlanFile {
  const { n: _, ...difference } = heldOut.difference
  return {
    format: 'shoal-policy',
    version: 1,
    kind: 'plan',
    created: new Date().toISOString(),
    model: { name: model.name, fingerprint: model.fingerprint, layers: model.hyperparameters.layers },
    method: `shoal search for ${target.target}x`,
    layers: target.plan,
    search: {
      target: target.target,
      by,
      prompt,
      data: files.map((file) => basename(file)).join(', '),
      sha256: texts.sha256,
      evaluated: found.evaluated,
      seen: seenTexts(texts.search, target),
      held_out: { ...heldOutTexts(texts.heldOut, heldOut), difference },
    },
  }
}

function seenTexts(texts: readonly ForcedText[], { fullLoss, balancedLoss, loss }: FoundTarget): PlanTexts {
  return { texts: texts.length, tokens: tokensOf(texts), full: fullLoss, balanced: balancedLoss, found: loss }
}

function heldOutTexts(texts: readonly ForcedText[], { full, balanced, found }: PlanComparison): PlanTexts {
  return {
    texts: texts.length,
    tokens: tokensOf(texts),
    full: full.loss,
    balanced: balanced.loss,
    found: found.loss,
  }
}

function isBalanced({ found }: TargetResult): boolean {
  return found.plan.join() === found.balanced.join()
}

function resultJson(
  model: Model,
  texts: SearchTexts,
  found: FoundPlans,
  results: readonly TargetResult[],
  fitted: DynamicResult | null,
  options: SearchOptions,
  seconds: number,
): object {
  return {
    ...searchHead(model, texts, options, seconds),
    evaluated: found.evaluated,
    targets: results.map((result) => ({
      target: result.found.target,
      plan: result.found.plan,
      balanced_plan: result.found.balanced,
      is_balanced: isBalanced(result),
      exhaustive: result.found.exhaustive,
      seen: seenTexts(texts.search, result.found),
      held_out: {
        ...heldOutTexts(texts.heldOut, result.heldOut),
        difference: result.heldOut.difference,
        to_full: result.heldOut.toFull,
      },
      out: result.path,
    })),
    dynamic: fitted?.json ?? null,
  }
}

function show(
  cli: Cli,
  model: Model,
  texts: SearchTexts,
  found: FoundPlans,
  results: readonly TargetResult[],
  fitted: DynamicResult | null,
  { prompt }: SearchOptions,
  seconds: number,
): void {
  const { layers } = model.hyperparameters
  for (const result of results) {
    const { full, balanced, found: best, difference } = result.heldOut
    cli.stdout.write(`${result.found.target}x: ${best.plan.length} of ${layers} layers\n`)
    const row = (name: string, { plan, loss, perplexity }: typeof full): string[] => [
      name,
      loss.toFixed(4),
      perplexity.toPrecision(4),
      plan.length === layers ? 'all' : plan.join(','),
    ]
    printTable(cli, [
      ['', 'loss', 'perplexity', 'layers'],
      row('full', full),
      row('balanced', balanced),
      row('found', best),
    ])
    cli.stdout.write(`${verdict(result, difference)}\n`)
    if (result.path !== null) tellWritten(cli, result.path, prompt)
    cli.stdout.write('\n')
  }
  if (fitted !== null) showDynamic(cli, fitted)
  cli.stdout.write(
    `${found.evaluated} plans evaluated on ${texts.search.length} texts in ${seconds.toFixed(0)} s; losses in nats per token on ${texts.heldOut.length} texts (${tokensOf(texts.heldOut)} tokens) that the search did not see\n`,
  )
}

function verdict(result: TargetResult, own: PlanComparison['difference']): string {
  const { exhaustive } = result.found
  if (isBalanced(result)) {
    return exhaustive
      ? 'every plan of this size was tried: the balanced one is the best on these texts'
      : 'the search found no better plan than the balanced one'
  }
  const difference = `found - balanced ${interval(own, 4, signed)}`
  if (own.high < 0) return `${difference}: the found plan is better`
  if (own.low > 0) return `${difference}: the found plan is worse on text that the search did not see`
  return `${difference}: no difference can be told`
}

function speedups(text: string): number[] {
  const list = text.split(',').map((part) => speedup(part.trim()))
  if (new Set(list).size < list.length) throw new InvalidArgumentError('A target stands twice.')
  return list
}

function speedup(text: string): number {
  const value = /^\d+(\.\d+)?x?$/.test(text) ? Number(text.replace('x', '')) : Number.NaN
  if (!(value >= 1)) throw new InvalidArgumentError('It must be a number from 1, such as 1.5.')
  return value
}
