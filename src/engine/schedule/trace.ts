import type { Bridge } from '../../depth/bridge.js'
import { allLayers } from '../../depth/plan.js'
import type { Hyperparameters } from '../../families/hyperparameters.js'
import type { Trace, TracedLayer, TraceOptions } from '../known-text.js'
import { abortedError } from '../run/aborted.js'
import type { Engine } from '../run/engine.js'

/** Runs every layer for every position and gives hidden states and lens logits of all of them, layer by layer or together. */
export async function trace(
  engine: Engine,
  h: Hyperparameters,
  ids: readonly number[],
  { lens = [], signal, onLayer }: TraceOptions,
): Promise<Trace> {
  const kept: TracedLayer[] = []
  let logits: Float32Array = new Float32Array(0)
  const throwIfAborted = () => {
    if (signal?.aborted) throw abortedError(signal.reason)
  }
  const sequence = engine.createSequence()
  try {
    throwIfAborted()
    await engine.rise([{ sequence, ids }], { layers: allLayers(h.layers) }, async (rows) => {
      const { layer } = rows
      if (layer < 0) return
      const places = ids.map((_, position) => ({ sequence, position }))
      const hidden = new Float32Array(ids.length * h.hidden)
      for (const { position } of places) hidden.set(rows.hidden(sequence, position), position * h.hidden)
      const read = async (map?: Bridge): Promise<Float32Array> => {
        const all = new Float32Array(ids.length * h.vocabulary)
        await rows.head(places, (position, own) => all.set(own, position * h.vocabulary), map)
        return all
      }
      const lensLogits = await read()
      const map = lens.find(({ from }) => from === layer)
      const traced = { layer, hidden, lensLogits, mappedLogits: map === undefined ? null : await read(map) }
      if (layer === h.layers - 1) logits = lensLogits
      if (onLayer === undefined) kept.push(traced)
      else await onLayer(traced)
      throwIfAborted()
    })
  } finally {
    sequence.dispose()
  }
  return {
    inputIds: Int32Array.from(ids),
    hidden: kept.map((one) => one.hidden),
    lensLogits: kept.map((one) => one.lensLogits),
    mappedLogits: lens.length === 0 ? [] : kept.map((one) => one.mappedLogits),
    logits,
  }
}
