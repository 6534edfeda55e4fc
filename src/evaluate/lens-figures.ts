import type { Bridge } from '../depth/bridge.js'
import { createTopTwo, topTwo } from '../depth/features.js'
import { allLayers } from '../depth/plan.js'
import type { Model } from '../engine/api.js'
import type { ForcedText, TextRows } from '../engine/known-text.js'

/** What a layer says beside the last one, on average over rows. */
export interface Reading {
  /** Share of rows whose most probable token is the last layer's. */
  readonly agreement: number
  /** KL(last layer | this one) in nats. */
  readonly kl: number
}

export interface LayerReading {
  readonly layer: number
  /** Final norm and head of the layer as it is. */
  readonly raw: Reading
  /** The same through the lens. */
  readonly lens: Reading
}

export interface LensQuality {
  readonly texts: number
  /** Rows that were read, spread over the texts. */
  readonly rows: number
  /** Ascending; those that the lens has. */
  readonly layers: readonly LayerReading[]
}

export interface LensQualityOptions {
  readonly signal?: AbortSignal
  /** @param done 0 to 1 */
  readonly onProgress?: (done: number) => void
}

/** Bytes of the last layer's distributions at most, and rows that are enough: standard errors of 0.025 of an agreement. */
const MOST_BYTES = 256 << 20
const MOST_ROWS = 400

/** Reads every layer of texts, which had no part in the fit, as it is and through a lens. */
export async function lensQuality(
  model: Model,
  texts: readonly ForcedText[],
  lens: readonly Bridge[],
  { signal, onProgress }: LensQualityOptions = {},
): Promise<LensQuality> {
  const { layers, vocabulary } = model.hyperparameters
  const losses = model.planLosses(texts)
  const stop = signal === undefined ? {} : { signal }
  const most = Math.max(1, Math.min(MOST_ROWS, Math.floor(MOST_BYTES / (4 * vocabulary))))
  const last = { tops: [] as number[], logProbabilities: [] as Float32Array[] }
  let read: readonly number[] = []
  const found: LayerReading[] = []
  try {
    await losses.rise({ layers: allLayers(layers), ...stop }, async (rows) => {
      if (rows.layer < layers - 1) return
      read = spreadRows(rows.count, most)
      await rows.head(read, (_, logits, probabilities) => {
        const top = topTwo(logits, createTopTwo()).top
        last.tops.push(top)
        last.logProbabilities.push(logSoftmax(logits, probabilities, top))
      })
    })
    const reading = async (rows: TextRows, map?: Bridge): Promise<Reading> => {
      let agreed = 0
      let kl = 0
      await rows.head(
        read,
        (i, logits, probabilities) => {
          const { top } = topTwo(logits, createTopTwo())
          if (top === last.tops[i]) agreed++
          kl += divergence(last.logProbabilities[i] as Float32Array, logSoftmax(logits, probabilities, top))
        },
        map,
      )
      return { agreement: agreed / read.length, kl: kl / read.length }
    }
    await losses.rise({ layers: allLayers(Math.max(1, layers - 1)), ...stop }, async (rows) => {
      const map = lens.find(({ from }) => from === rows.layer)
      if (map === undefined) return
      found.push({ layer: rows.layer, raw: await reading(rows), lens: await reading(rows, map) })
      onProgress?.(found.length / lens.length)
    })
    return { texts: texts.length, rows: read.length, layers: found }
  } finally {
    await losses.dispose()
  }
}

/** At most `most` of `count` rows, evenly spread. */
function spreadRows(count: number, most: number): number[] {
  const length = Math.min(count, most)
  return Array.from({ length }, (_, i) => Math.floor((i * count) / length))
}

function logSoftmax(logits: Float32Array, probabilities: Float32Array, top: number): Float32Array {
  const logSum = (logits[top] as number) - Math.log(probabilities[top] as number)
  return logits.map((value) => value - logSum)
}

/** KL(p | q) of log-probabilities, in nats. */
function divergence(p: Float32Array, q: Float32Array): number {
  let sum = 0
  for (let i = 0; i < p.length; i++) sum += Math.exp(p[i] as number) * ((p[i] as number) - (q[i] as number))
  return sum
}
