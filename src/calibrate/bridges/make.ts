import type { RunFacts } from '../../checkpoint/journal.js'
import { type Gap, planGaps } from '../../depth/bridge.js'
import type { Plan } from '../../depth/plan.js'
import type { Model } from '../../engine/api.js'
import type { ForcedText } from '../../engine/known-text.js'
import { openBridgeJournal } from './bridge-journal.js'
import { type FittedBridge, fitBridges, type MapOptions, rowsFor } from './fit.js'
import { captureRows } from './full-rows.js'

export interface MakeOptions extends Omit<MapOptions, 'mlpScale'> {
  /** What the prompts run. */
  readonly prompt: 'full' | 'plan'
  /** Where bridges are kept until they are not needed any more; null to keep none. */
  readonly journal: string | null
  /** What they depend on. */
  readonly run: RunFacts
  readonly signal?: AbortSignal
  /** @param done 0 to 1 */
  readonly onProgress?: (done: number) => void
}

export interface MadeBridges {
  readonly fitted: readonly FittedBridge[]
  /** Rows that they were fitted on. */
  readonly rows: number
  /** To be called in the end; with true where the bridges are kept elsewhere. */
  close(remove: boolean): void
}

/** Bytes that a fit holds beside the model: rows at the gaps, and moments with their solutions. */
export function fitMemory(hidden: number, gaps: number, texts: readonly ForcedText[]): number {
  const rows = texts.reduce((sum, { ids }) => sum + ids.length, 0)
  return 4 * hidden * rows * (3 + gaps) + 8 * 10 * hidden * hidden
}

/** Fits bridges over a plan's gaps on texts: one pass at full depth, and one of the layers between the gaps. */
export async function makeBridges(
  model: Model,
  plan: Plan,
  texts: readonly ForcedText[],
  { prompt, journal: path, run, onProgress, signal, ...map }: MakeOptions,
): Promise<MadeBridges> {
  const { layers, hidden, facts } = model.hyperparameters
  const journal = openBridgeJournal(path, run, hidden)
  const gaps = planGaps(plan, layers)
  const [first, last] = [gaps[0] as Gap, gaps.at(-1) as Gap]
  const steps = last.to + plan.filter((l) => l >= first.to && l <= last.from).length
  let step = 0
  const onLayer = (): void => onProgress?.(++step / steps)
  const losses = model.planLosses(texts, { prompt })
  try {
    const full = await captureRows(losses, { ...rowsFor(plan, layers, map.on), signal, onLayer })
    const fitted = await fitBridges(losses, layers, plan, full, {
      ...map,
      ...(facts.residualScale === undefined ? {} : { mlpScale: facts.residualScale }),
      signal,
      onLayer,
      known: ({ from }) => journal.known(from),
      onBridge: (bridge) => journal.append(bridge),
    })
    const [rows] = full.hidden.values()
    return { fitted, rows: rows?.count ?? 0, close: (remove) => journal.close(remove) }
  } catch (error) {
    journal.close()
    throw error
  } finally {
    await losses.dispose()
  }
}
