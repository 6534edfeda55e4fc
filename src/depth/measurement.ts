/** Sequences at once that costs are measured for at most. */
export const MOST_BATCH = 1024

/** What a decode step of one model costs on one machine, for a number of sequences at once. Times in ms. */
export interface StepCosts {
  /** Sequences that take the step together, each with one token. */
  readonly batch: number
  /** L, the number of layers. */
  readonly layers: number
  /** A whole step at full depth: L x layerMs + headMs + restMs. */
  readonly fullMs: number
  /** One layer at full depth, on average; the embedding is counted in. */
  readonly layerMs: number
  /** Final norm, LM head and softmax. */
  readonly headMs: number
  /** An exit check: the whole head, features of its distribution, and the policy's question. */
  readonly checkMs: number
  /** The rest: preparing and starting graphs, sampling, JavaScript. */
  readonly restMs: number
  /** A bridge of H x H over layers that are left out. */
  readonly bridgeMs: number
  /**
   * Whole steps of plans of some sizes, ascending, full depth the last; more layers never take less. A layer costs less in
   * a small plan whose weights stay in the processor's caches, so no straight line would do.
   */
  readonly plans: readonly PlanCost[]
}

export interface PlanCost {
  /** Layers that run. */
  readonly layers: number
  readonly ms: number
}

/**
 * What a step takes that runs `count` layers, in ms: on the line between the two measured plans around it.
 * @param bridges in units of H x H
 */
export function stepMs({ plans, layerMs, bridgeMs }: StepCosts, count: number, bridges = 0): number {
  const bridgesMs = bridges * bridgeMs
  const above = plans.findIndex(({ layers }) => layers >= count)
  const right = plans[above] ?? (plans.at(-1) as PlanCost)
  const left = plans[above - 1]
  if (left === undefined || right.layers === count)
    return right.ms + Math.min(0, count - right.layers) * layerMs + bridgesMs
  return bridgesMs + left.ms + ((right.ms - left.ms) * (count - left.layers)) / (right.layers - left.layers)
}

/** Rules that take layers out one after the other, in an order that is measured on text. */
export type LayerOrderRule = 'shortgpt' | 'sleb'

/** What must be measured of a loaded model before a SPEC can be parsed for it. */
export type Measurement =
  | { readonly kind: 'costs'; readonly batch: number }
  /** `data` is the path of a text or prompts file; null for what the rule takes by default. */
  | { readonly kind: 'layer-order'; readonly rule: LayerOrderRule; readonly data: string | null }
  /** Where exit checks that nobody has calibrated may begin. */
  | { readonly kind: 'first-check' }
  /** A file of bridges; `stamp` tells what it was when it was named. */
  | { readonly kind: 'bridges'; readonly path: string; readonly stamp: string }
