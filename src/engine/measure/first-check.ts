import { features } from '../../depth/features.js'
import { allLayers } from '../../depth/plan.js'
import { abortedError } from '../run/aborted.js'
import type { Engine } from '../run/engine.js'
import { MachineMemory } from '../run/machine-memory.js'
import { DEFAULT_TEXT, type OrderParts } from './layer-order.js'
import type { MeasureWork } from './measurements.js'
import { readTextData } from './text-data.js'

/** Rises with every change that may give another layer. */
const VERSION = 1
const WINDOW = 128
/** Every so many tokens of the window are read, at every layer. */
const EVERY = 3
/** AdaInfer's fixed gap (arXiv 2403.02181, section 3): a layer with a greater one is sure. */
const SURE = 0.8

/**
 * The lowest layer from which on the model's own head can be believed, measured on a page that comes along, or recalled from the
 * cache: at it and above, wherever a layer is sure, the last layer says the same more often than not. Below, some layers are sure of what
 * nobody will say; where embeddings and head share a matrix the lowest repeat the input token.
 */
export async function firstCheck(parts: OrderParts, work: MeasureWork): Promise<number> {
  const window = Math.min(WINDOW, parts.context)
  const { texts, sha256 } = await readTextData(DEFAULT_TEXT, { ...parts, window, promptShare: 0 })
  const ids = texts[0]?.ids ?? []
  const key = `first check v${VERSION} | ${parts.model} | ${window} | ${sha256}`
  return parts.alone(async (engine) => {
    const known = (await MachineMemory.open(parts.cacheDir)).get(key)
    if (Number.isSafeInteger(known) && (known as number) >= 0 && (known as number) < engine.layers) {
      return known as number
    }
    const layer = ids.length < 2 ? 0 : firstBelieved(await readLayers(engine, ids, work))
    await (await MachineMemory.open(parts.cacheDir)).add({ [key]: layer })
    return layer
  }, work.signal)
}

/** What a layer says at some positions. */
export interface LayerReading {
  readonly top: readonly number[]
  readonly gap: readonly number[]
}

/** The layer by its readings, from the lowest layer to the last. */
export function firstBelieved(readings: readonly LayerReading[]): number {
  const last = readings.at(-1)
  const wrong = readings.findLastIndex(({ top, gap }) => {
    const sure = gap.flatMap((value, i) => (value > SURE ? [i] : []))
    const differs = sure.filter((i) => top[i] !== last?.top[i]).length
    return differs > sure.length / 2
  })
  return wrong + 1
}

async function readLayers(engine: Engine, ids: readonly number[], work: MeasureWork): Promise<LayerReading[]> {
  const sequence = engine.createSequence()
  const places = ids.flatMap((_, position) => (position % EVERY === 0 ? [{ sequence, position }] : []))
  const readings: LayerReading[] = []
  try {
    await engine.rise([{ sequence, ids, signal: work.signal }], { layers: allLayers(engine.layers) }, async (rows) => {
      if (rows.layer < 0) return
      if (work.signal.aborted) throw abortedError(work.signal.reason)
      const top: number[] = []
      const gap: number[] = []
      await rows.head(places, (i, logits) => {
        const said = features(logits)
        top[i] = said.top
        gap[i] = said.gap
      })
      readings.push({ top, gap })
      work.progress({ what: 'which layers can be read', done: (rows.layer + 1) / engine.layers })
    })
    return readings
  } finally {
    sequence.dispose()
  }
}
