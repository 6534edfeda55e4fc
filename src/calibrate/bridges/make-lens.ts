import { allLayers } from '../../depth/plan.js'
import type { Model } from '../../engine/api.js'
import type { ForcedText } from '../../engine/known-text.js'
import { Backend } from '../../ggml/backend.js'
import { openBridgeJournal } from './bridge-journal.js'
import { type FittedBridge, fitOne } from './fit.js'
import { captureRows, RowBlock } from './full-rows.js'
import type { MadeBridges, MakeOptions } from './make.js'

/** Layers between two at which ridges are tried: neighbours want the same, and trying takes four fifths of a fit. */
const RIDGE_EVERY = 4

export type LensOptions = Omit<MakeOptions, 'on' | 'prompt'>

/**
 * Fits a lens on texts: for each layer but the last, a map from the hidden state after it to the one after the last. Two passes at
 * full depth, so that the rows of one layer are held at a time.
 */
export async function makeLens(
  model: Model,
  texts: readonly ForcedText[],
  { journal: path, run, onProgress, signal, rank, type }: LensOptions,
): Promise<MadeBridges> {
  const { layers, hidden } = model.hyperparameters
  const journal = openBridgeJournal(path, run, hidden)
  const steps = 2 * layers - 1
  let step = 0
  const onLayer = (): void => onProgress?.(++step / steps)
  const losses = model.planLosses(texts)
  const backend = new Backend()
  const fitted: FittedBridge[] = []
  let ridge: number | null = null
  try {
    const full = await captureRows(losses, { after: [layers - 1], signal, onLayer })
    const target = full.hidden.get(layers - 1) as RowBlock
    const all = { layers: allLayers(layers - 1), ...(signal && { signal }) }
    await losses.rise(all, (rows) => {
      const { layer } = rows
      if (layer < 0) return
      const known = journal.known(layer)
      const gap = { from: layer, to: layers }
      const ridges = ridge === null || layer % RIDGE_EVERY === 0 ? {} : { ridges: [ridge] }
      const below = { hidden: RowBlock.of(rows), mlp: null, target }
      const map = known ?? fitOne(backend, gap, below, { type, rank, ...ridges })
      ridge = map.ridge
      if (known === null) journal.append(map)
      fitted.push(map)
      onLayer()
    })
    return { fitted, rows: target.count, close: (remove) => journal.close(remove) }
  } catch (error) {
    journal.close()
    throw error
  } finally {
    await backend.dispose()
    await losses.dispose()
  }
}
