import type { StepCosts } from '../../depth/measurement.js'
import { isJsonObject } from '../../json.js'
import { MachineMemory } from '../run/machine-memory.js'

/** Rises with every change of the engine that makes costs of older versions wrong. */
const VERSION = 2

/** Costs of one model in the cache, by batch size. */
export interface KeptCosts {
  recall(batch: number): Promise<StepCosts | null>
  keep(costs: StepCosts): Promise<void>
}

/** @param key all that the costs depend on, but for the batch size: machine, libraries, settings and model */
export function keptCosts(cacheDir: string, key: string, layers: number): KeptCosts {
  const keyOf = (batch: number): string => `costs v${VERSION} | ${key} | batch ${batch}`
  return {
    async recall(batch) {
      return readCosts((await MachineMemory.open(cacheDir)).get(keyOf(batch)), batch, layers)
    },
    async keep(costs) {
      await (await MachineMemory.open(cacheDir)).add({ [keyOf(costs.batch)]: { ...costs } })
    },
  }
}

/** Null where an entry is missing or says what cannot be: it is measured anew. */
function readCosts(entry: unknown, batch: number, layers: number): StepCosts | null {
  if (!isJsonObject(entry) || entry.batch !== batch || entry.layers !== layers || !Array.isArray(entry.plans))
    return null
  const costs: StepCosts = {
    batch,
    layers,
    fullMs: number(entry.fullMs),
    layerMs: number(entry.layerMs),
    headMs: number(entry.headMs),
    checkMs: number(entry.checkMs),
    restMs: number(entry.restMs),
    bridgeMs: number(entry.bridgeMs),
    plans: entry.plans.map((plan: unknown) =>
      isJsonObject(plan)
        ? { layers: number(plan.layers), ms: number(plan.ms) }
        : { layers: Number.NaN, ms: Number.NaN },
    ),
  }
  return isPossible(costs) ? costs : null
}

function number(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : Number.NaN
}

/** Whether costs can be true: no part of a step is free, and more layers take no less. A noisy machine may say otherwise. */
export function isPossible({ layers, fullMs, layerMs, headMs, checkMs, restMs, bridgeMs, plans }: StepCosts): boolean {
  const last = plans.at(-1)
  const rising = plans.every(({ layers: n, ms }, i) => {
    const before = plans[i - 1]
    return Number.isInteger(n) && n > (before?.layers ?? 0) && ms > 0 && ms >= (before?.ms ?? 0)
  })
  const parts = fullMs > 0 && layerMs > 0 && headMs > 0 && checkMs > 0 && restMs >= 0 && bridgeMs >= 0
  return parts && rising && last?.layers === layers && last.ms === fullMs
}
