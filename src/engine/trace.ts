import { allLayers } from '../depth/plan.js'
import type { Hyperparameters } from '../families/family.js'
import { abortedError } from './aborted.js'
import type { Engine } from './engine.js'
import type { Trace, TraceOptions } from './known-text.js'

/** Runs every layer for every position and keeps hidden states and lens logits of all of them. */
export async function trace(
  engine: Engine,
  h: Hyperparameters,
  ids: readonly number[],
  { lens = [], signal }: TraceOptions,
): Promise<Trace> {
  const hidden = Array.from({ length: h.layers }, () => new Float32Array(ids.length * h.hidden))
  const lensLogits = Array.from({ length: h.layers }, () => new Float32Array(ids.length * h.vocabulary))
  const mappedLogits = lensLogits.map((_, layer) =>
    lens.some(({ from }) => from === layer) ? new Float32Array(ids.length * h.vocabulary) : null,
  )
  const throwIfAborted = () => {
    if (signal?.aborted) throw abortedError(signal.reason)
  }
  const sequence = engine.createSequence()
  try {
    throwIfAborted()
    await engine.rise([{ sequence, ids }], { layers: allLayers(h.layers) }, async (rows) => {
      if (rows.layer < 0) return
      const places = ids.map((_, position) => ({ sequence, position }))
      for (const { position } of places) {
        hidden[rows.layer]?.set(rows.hidden(sequence, position), position * h.hidden)
      }
      await rows.head(places, (position, logits) => {
        lensLogits[rows.layer]?.set(logits, position * h.vocabulary)
      })
      const map = lens.find(({ from }) => from === rows.layer)
      if (map !== undefined) {
        const see = (position: number, logits: Float32Array): void =>
          mappedLogits[rows.layer]?.set(logits, position * h.vocabulary)
        await rows.head(places, see, map)
      }
      throwIfAborted()
    })
  } finally {
    sequence.dispose()
  }
  return {
    inputIds: Int32Array.from(ids),
    hidden,
    lensLogits,
    mappedLogits: lens.length === 0 ? [] : mappedLogits,
    logits: lensLogits.at(-1) as Float32Array,
  }
}
