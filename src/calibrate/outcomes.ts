import type { PolicyFile } from '../depth/policy-file.js'
import { applyPolicy } from './apply.js'
import { type TraceInstance, type TraceSet, wholeHead } from './traces.js'

/** What exits give on traces: shares of instances, and layers. */
export interface Outcome {
  /** Mean depth, 1 to L. */
  readonly meanLayers: number
  /** Share of instances whose token is the last layer's. */
  readonly agreement: number
  /** Share of instances with the gold answer; null where it is not known of all. */
  readonly accuracy: number | null
  /**
   * Share of instances that full depth answers right and this does not; null likewise. What this answers right and full depth
   * does not is luck, and is not set against them.
   */
  readonly losses: number | null
}

/**
 * What decides where an instance leaves: a policy file, a threshold of the gap, full depth, the first layer from which the token stays (which
 * no policy can know), or the layers themselves, one for each instance.
 */
export type ExitRule = PolicyFile | { readonly gap: number } | 'full' | 'oracle' | readonly number[]

/** Instance by instance; 1 is yes. */
export interface Outcomes extends Outcome {
  /** Layer of the exit, from 0. */
  readonly exits: readonly number[]
  readonly agrees: readonly number[]
  /** Whether the answer is right, here and at full depth; null where that is not known of all. */
  readonly right: readonly number[] | null
  readonly fullRight: readonly number[] | null
}

/** What a rule does with traced questions. An exit in a full-depth trace gives exactly that layer's answer, so nothing is run. */
export function outcomes(traces: TraceSet, rule: ExitRule): Outcomes {
  const { instances, layers } = traces
  const exits = exitsOf(traces, rule)
  const agrees = instances.map(({ agree }, i) => agree[exits[i]!]!)
  const judged = instances.every(({ correct }) => correct !== null)
  const right = judged ? instances.map(({ correct }, i) => correct![exits[i]!]!) : null
  const fullRight = judged ? instances.map(({ correct }) => correct![layers - 1]!) : null
  const share = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length
  return {
    exits,
    agrees,
    right,
    fullRight,
    meanLayers: share(exits) + 1,
    agreement: share(agrees),
    accuracy: right && share(right),
    losses: right && share(right.map((own, i) => fullRight![i]! & ~own)),
  }
}

function exitsOf(traces: TraceSet, rule: ExitRule): readonly number[] {
  const { instances, layers } = traces
  if (rule === 'full') return instances.map(() => layers - 1)
  if (rule === 'oracle') return instances.map(stableFrom)
  if ('kind' in rule) return applyPolicy(rule, traces).map(({ exit }) => exit)
  if (!('gap' in rule)) return rule
  return wholeHead(traces).instances.map(({ features }) => {
    const exit = features.gap?.findIndex((gap, layer) => layer === layers - 1 || gap > rule.gap)
    return exit ?? layers - 1
  })
}

/** The first layer from which the argmax stays the last layer's. */
export function stableFrom({ agree }: Pick<TraceInstance, 'agree'>): number {
  return agree.lastIndexOf(0) + 1
}
