import { fileURLToPath } from 'node:url'
import { cosine } from '../../depth/exit-features.js'
import type { LayerOrderRule } from '../../depth/measurement.js'
import { allLayers } from '../../depth/plan.js'
import { influenceOrder } from '../../depth/shortgpt.js'
import type { ForcedText } from '../known-text.js'
import { abortedError } from '../run/aborted.js'
import type { Engine } from '../run/engine.js'
import { MachineMemory } from '../run/machine-memory.js'
import type { MeasureWork } from './measurements.js'
import { readTextData, type TextDataOptions } from './text-data.js'
import { TextLosses } from './text-losses.js'

/** What rules measure on where nothing else is named: English prose and questions with answers. */
export const DEFAULT_TEXT = fileURLToPath(new URL('../../../pretrained/calibration.txt', import.meta.url))

/** Rises with every change that may give another order. */
const VERSION = 1
/** Tokens that are measured at most: SLEB's cost grows with them times the square of the layers. */
const MOST_TOKENS = 16_384
const WINDOW = 256

export interface OrderParts extends Omit<TextDataOptions, 'window' | 'promptShare'> {
  readonly cacheDir: string
  /** All that an order depends on beside rule and text. */
  readonly model: string
  /** Tokens that a sequence may hold. */
  readonly context: number
  /** Runs an action with the engine to itself. */
  readonly alone: <T>(action: (engine: Engine) => Promise<T>, signal?: AbortSignal) => Promise<T>
}

/**
 * All layers in the order in which a rule takes them out, measured on a file's text, or recalled from the cache. As in both
 * papers, the layers are left out for every token of the text.
 * @throws FileError where the text cannot be read
 */
export async function layerOrder(
  parts: OrderParts,
  rule: LayerOrderRule,
  data: string | null,
  work: MeasureWork,
): Promise<readonly number[]> {
  const window = Math.min(WINDOW, parts.context)
  const { texts, sha256 } = await readTextData(data ?? DEFAULT_TEXT, { ...parts, window, promptShare: 0 })
  const key = `layer order v${VERSION} | ${rule} | ${parts.model} | ${window} | ${sha256}`
  return parts.alone(async (engine) => {
    const known = (await MachineMemory.open(parts.cacheDir)).get(key)
    if (isOrder(known, engine.layers)) return known
    const measured = firstOf(texts, parts.context)
    const order = await (rule === 'sleb' ? removalOrder : blockInfluenceOrder)(engine, measured, work)
    await (await MachineMemory.open(parts.cacheDir)).add({ [key]: order })
    return order
  }, work.signal)
}

/** Texts from the beginning, up to MOST_TOKENS, each as one text without a prompt. */
function firstOf(texts: readonly ForcedText[], context: number): ForcedText[] {
  const some: ForcedText[] = []
  let tokens = 0
  for (const { ids } of texts) {
    if (ids.length < 2) continue
    if (some.length > 0 && tokens + ids.length > MOST_TOKENS) break
    tokens += ids.length
    some.push({ ids: ids.slice(0, context), promptLength: 1 })
  }
  return some
}

/** Layers by block influence over all positions of the texts (ShortGPT, arXiv 2403.03853, section 2.3). */
export async function blockInfluenceOrder(
  engine: Engine,
  texts: readonly ForcedText[],
  work: MeasureWork,
): Promise<number[]> {
  const similarity = new Float64Array(engine.layers)
  let positions = 0
  for (const [i, { ids }] of texts.entries()) {
    if (work.signal.aborted) throw abortedError(work.signal.reason)
    const sequence = engine.createSequence()
    try {
      let before: Float32Array[] = []
      await engine.rise(
        [{ sequence, ids, signal: work.signal }],
        { layers: allLayers(engine.layers) },
        async (rows) => {
          const now = ids.map((_, position) => rows.hidden(sequence, position))
          if (rows.layer >= 0) {
            for (const [p, row] of now.entries()) {
              similarity[rows.layer] = (similarity[rows.layer] as number) + cosine(before[p] as Float32Array, row)
            }
          }
          before = now
        },
      )
    } finally {
      sequence.dispose()
    }
    positions += ids.length
    work.progress({ what: 'what each layer changes (ShortGPT)', done: (i + 1) / texts.length })
  }
  return influenceOrder(Array.from(similarity, (sum) => 1 - sum / positions))
}

/** Layers by greedy removal, first and last at the end (SLEB, arXiv 2402.09025, section 3). */
export async function removalOrder(engine: Engine, texts: readonly ForcedText[], work: MeasureWork): Promise<number[]> {
  const between = engine.layers - 2
  // Layers that are run in all, for the estimate: k layers are each left out of k + 2.
  const total = Array.from({ length: Math.max(0, between) }, (_, i) => (i + 1) * (i + 2)).reduce((a, b) => a + b, 0)
  let run = 0
  const losses = new TextLosses(engine, texts, 'plan')
  const order: number[] = []
  let kept = allLayers(engine.layers)
  try {
    while (kept.length > 2) {
      let best: { layer: number; loss: number } | null = null
      for (const layer of kept.slice(1, -1)) {
        const plan = kept.filter((l) => l !== layer)
        const each = await losses.of(plan, 0, texts.length, { signal: work.signal })
        const loss = each.reduce((sum, x) => sum + x, 0)
        if (best === null || loss < best.loss) best = { layer, loss }
        run += plan.length
        work.progress({ what: 'what each removal costs (SLEB)', done: run / total })
      }
      const { layer } = best as { layer: number }
      order.push(layer)
      kept = kept.filter((l) => l !== layer)
    }
  } finally {
    losses.dispose()
  }
  return [...order, ...kept.toReversed()]
}

function isOrder(value: unknown, layers: number): value is number[] {
  return (
    Array.isArray(value) &&
    value.length === layers &&
    [...value].sort((a, b) => Number(a) - Number(b)).every((layer, i) => layer === i)
  )
}
