import { BridgedLosses } from '../calibrate/bridges/bridged-losses.js'
import { makeBridges } from '../calibrate/bridges/make.js'
import { type FoundBridged, searchBridged } from '../calibrate/bridges/search-bridged.js'
import { planPath, searchFacts } from '../calibrate/find-plans.js'
import { type SearchTexts, searchTexts } from '../calibrate/search-texts.js'
import { writeBridgeFile } from '../convert/bridge-file.js'
import { bridgeType, bridgeUnits, gapText, planGaps } from '../depth/bridge.js'
import { balancedPlan, keptLayers, layersInTime, speedupOf } from '../depth/unified.js'
import type { Model } from '../engine/api.js'
import { SpecError } from '../errors.js'
import { type BridgeQuality, bridgeQuality } from '../evaluate/bridge-figures.js'
import { type Cli, note, printJson } from './cli.js'
import { bar, bytesText, createProgressLine } from './progress-line.js'
import { searchHead, tellWritten } from './search-output.js'
import { printTable } from './table.js'

/** What `shoal search --bridge` is given. */
export interface SearchBridgesOptions {
  readonly speedup: readonly number[]
  readonly texts: readonly string[]
  readonly out?: string
  readonly by?: 'time' | 'layers'
  readonly prompt: 'full' | 'plan'
  readonly samples: number
  readonly heldOut: number
  readonly window: number
  readonly promptShare: number
  readonly seed: number
  readonly rank?: number | null
  readonly json?: boolean
}

/** Of the texts that the search sees, the share that maps are fitted on; the others say what a plan is worth. */
const FIT_SHARE = 0.6
/** Gaps of a plan at most: each has its bridge, which costs time and takes from what is left to explain. */
const MOST_GAPS = 6

interface TargetResult {
  readonly target: number
  readonly predicted: number | null
  readonly found: FoundBridged
  readonly quality: BridgeQuality
  readonly units: number
  readonly path: string | null
}

/**
 * Finds plans together with the bridges over their gaps.
 * @param journal where measured plans are kept until the bridges are written; null to keep none
 */
export async function searchWithBridges(
  cli: Cli,
  model: Model,
  journal: string | null,
  options: SearchBridgesOptions,
): Promise<void> {
  const { speedup: targets, out, prompt, rank = null } = options
  const { layers, hidden } = model.hyperparameters
  const type = bridgeType(hidden)
  const started = performance.now()
  const texts = await searchTexts(model, options.texts, { ...options, signal: cli.signal })
  if (texts.cut) note(cli, 'the texts are long: only the beginning of each file was read')
  const fitted = Math.max(1, Math.round(texts.search.length * FIT_SHARE))
  const some = { fit: texts.search.slice(0, fitted), try: texts.search.slice(fitted) }
  if (some.try.length === 0)
    throw new SpecError('a search with bridges needs four texts at least: some to fit on, others to look')
  const rows = texts.search.reduce((sum, { ids }) => sum + ids.length, 0)
  note(
    cli,
    `searching on ${texts.search.length} texts: about ${bytesText(4 * hidden * rows * (layers + 2))} beside the model`,
  )
  const keep = await keptBy(cli, model, options)
  const results: TargetResult[] = []
  let written = false
  const losses = new BridgedLosses(model, some, {
    type,
    rank,
    prompt,
    journal,
    run: { ...searchFacts(model, texts, options, prompt), rank },
    signal: cli.signal,
  })
  try {
    if (losses.count > 0) note(cli, `going on with ${losses.count} plans that ${journal} holds`)
    for (const target of targets) {
      const found = await findOne(cli, losses, layers, target, keep(target))
      const made = await makeBridges(model, found.plan, texts.search, {
        on: 'hidden',
        rank,
        type,
        prompt,
        journal: null,
        run: {},
        signal: cli.signal,
      })
      const bridges = made.fitted.map(({ bridge }) => bridge)
      const quality = await bridgeQuality(model, texts.heldOut, found.plan, bridges, { prompt, signal: cli.signal })
      const path = out === undefined ? null : planPath(out, targets.length > 1 ? `${target}x` : null)
      if (path !== null) {
        await writeBridgeFile(path, {
          plan: found.plan,
          layers,
          hidden,
          bridges,
          model: { name: model.name, fingerprint: model.fingerprint, quantization: model.quantization },
          texts: texts.sha256,
          figures: {
            full: quality.full,
            plain: quality.plain.mean,
            bridged: quality.bridged.mean,
            tokens: quality.tokens,
          },
        })
      }
      const units = bridgeUnits(bridges, hidden)
      const predicted = keep(target).predicted(found.plan.length, units)
      results.push({ target, predicted, found, quality, units, path })
    }
    written = true
  } finally {
    await losses.close(written)
  }
  const seconds = (performance.now() - started) / 1000
  if (options.json) printJson(cli, resultJson(model, texts, results, options, seconds))
  else for (const result of results) show(cli, model, result, texts, options)
}

interface Kept {
  /** Layers that a plan of so many gaps may keep. */
  readonly of: (gaps: number) => number | null
  readonly predicted: (count: number, units: number) => number | null
}

/** How many layers a target leaves beside bridges. */
async function keptBy(
  cli: Cli,
  model: Model,
  { by = 'time', rank }: SearchBridgesOptions,
): Promise<(target: number) => Kept> {
  const { layers, hidden } = model.hyperparameters
  if (by === 'layers') return (target) => ({ of: () => keptLayers(layers, target), predicted: () => null })
  const line = createProgressLine(cli)
  try {
    const costs = await model.costs(1, {
      signal: cli.signal,
      onMeasure: ({ what, done }) => line.show(`measuring ${what} ${bar(done)}`),
    })
    const unit = rank === undefined || rank === null ? 1 : Math.min(1, (2 * rank) / hidden)
    return (target) => ({
      of: (gaps) => layersInTime(costs, target, () => gaps * unit),
      predicted: (count, units) => speedupOf(costs, count, units),
    })
  } finally {
    line.clear()
  }
}

async function findOne(
  cli: Cli,
  losses: BridgedLosses,
  layers: number,
  target: number,
  kept: Kept,
): Promise<FoundBridged> {
  const count = kept.of(1)
  if (count === null)
    throw new SpecError(`${target}x cannot be met with a bridge on this machine: give a smaller target`)
  if (count >= layers) throw new SpecError(`${target}x leaves out no layer of ${layers}: give a larger target`)
  const line = createProgressLine(cli)
  try {
    let layer = 0
    const prices = await losses.gapPrices(() => line.show(`what gaps cost ${bar(++layer / layers)}`))
    const started = performance.now()
    const before = losses.count
    const found = await searchBridged(prices, (plan) => losses.of(plan), {
      layers,
      kept: kept.of,
      others: [balancedPlan(layers, count)],
      mostGaps: Math.min(MOST_GAPS, layers - count),
      onProgress: (tried, left) => {
        const fresh = Math.max(1, losses.count - before)
        const seconds = Math.round(((performance.now() - started) / 1000 / fresh) * left)
        line.show(`${target}x ${bar(tried / (tried + left))} ${tried} plans tried · ${seconds} s left at most`)
      },
    })
    if (found === null) throw new SpecError(`${target}x: no plan of ${count} layers has gaps that a bridge spans`)
    return found
  } finally {
    line.clear()
  }
}

function resultJson(
  model: Model,
  texts: SearchTexts,
  results: readonly TargetResult[],
  options: SearchBridgesOptions,
  seconds: number,
): object {
  return {
    ...searchHead(model, texts, options, seconds),
    rank: options.rank ?? null,
    targets: results.map(({ target, predicted, found, quality, units, path }) => ({
      target,
      predicted,
      plan: found.plan,
      units,
      seen: { texts: texts.search.length, loss: found.loss, tried: found.tried },
      cheapest: found.cheapest,
      held_out: quality,
      out: path,
    })),
  }
}

function show(
  cli: Cli,
  model: Model,
  { target, predicted, found, quality, path }: TargetResult,
  texts: SearchTexts,
  { prompt }: SearchBridgesOptions,
): void {
  const { layers } = model.hyperparameters
  const gaps = planGaps(found.plan, layers).map(gapText).join(', ')
  const time = predicted === null ? '' : `, ${predicted.toFixed(2)}x predicted with the bridges`
  cli.stdout.write(`${target}x: ${found.plan.length} of ${layers} layers${time}; bridges over ${gaps}\n`)
  const signed = (x: number): string => `${x > 0 ? '+' : ''}${x.toFixed(4)}`
  const row = (name: string, { mean, low, high }: BridgeQuality['plain']): string[] => [
    name,
    (quality.full + mean).toFixed(4),
    `${signed(mean)} [${signed(low)}, ${signed(high)}]`,
  ]
  printTable(cli, [
    ['', 'loss', 'added'],
    ['full', quality.full.toFixed(4), ''],
    row('without bridges', quality.plain),
    row('with bridges', quality.bridged),
  ])
  cli.stdout.write(
    `${found.tried} plans tried; losses in nats per token on ${texts.heldOut.length} texts (${quality.tokens} tokens) that the search did not see\n`,
  )
  if (path !== null) tellWritten(cli, path, prompt)
  cli.stdout.write('\n')
}
