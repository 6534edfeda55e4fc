import type { Bound } from '../depth/bound.js'
import type { PolicyFile } from '../depth/policy-file.js'
import { InputError } from '../errors.js'
import { applyPolicy, exitLayer } from './apply.js'
import { binomialCdf } from './binomial.js'
import { sweepThresholds } from './threshold.js'
import { selectTraces, type TraceSet, taskNames } from './traces.js'

/** What a bound promises: with `confidence`, the disagreement of the population is at most `maxDisagreement`. */
export interface BoundRequest {
  readonly maxDisagreement: number
  readonly confidence: number
  /**
   * For generated tokens. `any` (default): a sequence disagrees where any of its tokens differs; `mean`: the share of its
   * tokens that differ, averaged over sequences.
   */
  readonly measure?: 'any' | 'mean'
}

/**
 * p-value of "the population's disagreement is greater than alpha" after k of n units disagreed: P(Bin(n, alpha) <= k),
 * the exact binomial tail.
 */
export function binomialPValue(k: number, n: number, alpha: number): number {
  return n === 0 ? 1 : binomialCdf(k, n, alpha)
}

/**
 * p-value of "the mean loss is greater than alpha" for n losses in [0, 1] of this mean: the smaller of Hoeffding's and
 * Bentkus's bound (Bates et al. 2021, "Distribution-free, risk-controlling prediction sets", section 3.1).
 */
export function hoeffdingBentkusPValue(mean: number, n: number, alpha: number): number {
  if (n === 0) return 1
  const hoeffding = Math.exp(-n * relativeEntropy(Math.min(mean, alpha), alpha))
  // The sum may be a hair above a whole number by rounding alone.
  const bentkus = Math.E * binomialCdf(Math.ceil(n * mean - 1e-9), n, alpha)
  return Math.min(1, hoeffding, bentkus)
}

/** Of Bernoulli(a) from Bernoulli(b), in nats. */
function relativeEntropy(a: number, b: number): number {
  const part = (x: number, y: number): number => (x === 0 ? 0 : x * Math.log(x / y))
  return part(a, b) + part(1 - a, 1 - b)
}

/** The fewest units with which a bound can hold: without any disagreement, the p-value must reach 1 - confidence. */
export function unitsNeeded({ maxDisagreement, confidence }: BoundRequest): number {
  // Both p-values at 0 disagreement are (1 - alpha)^n.
  return Math.max(1, Math.ceil(Math.log(1 - confidence) / Math.log1p(-maxDisagreement) - 1e-12))
}

/** Outcome of the tests: how many were made and the last one that passed. */
export interface Tested {
  /** Index of the chosen candidate; -1 where the first failed. */
  readonly chosen: number
  readonly tested: number
  readonly pValue: number | null
}

/**
 * Learn-then-Test with fixed sequence testing (Angelopoulos et al. 2021, "Learn then Test", section 3): candidates are
 * tested one after the other, safest first, each at level 1 - confidence, until one fails. The last that passed holds
 * with that confidence, as long as candidates and order were fixed on other data.
 *
 * @param pValue of candidate i: that its disagreement is greater than what is allowed
 */
export function fixedSequenceTest(candidates: number, confidence: number, pValue: (i: number) => number): Tested {
  let last: number | null = null
  for (let i = 0; i < candidates; i++) {
    const p = pValue(i)
    if (!(p <= 1 - confidence)) return { chosen: i - 1, tested: i + 1, pValue: last }
    last = p
  }
  return { chosen: candidates - 1, tested: candidates, pValue: last }
}

/**
 * The fixed sequence test of a bound.
 * @param disagreementAt mean loss of the n units with candidate i
 */
export function testCandidates(
  candidates: number,
  n: number,
  disagreementAt: (i: number) => number,
  { maxDisagreement, confidence, measure = 'any' }: BoundRequest,
): Tested {
  return fixedSequenceTest(candidates, confidence, (i) =>
    measure === 'any'
      ? binomialPValue(Math.round(disagreementAt(i) * n), n, maxDisagreement)
      : hoeffdingBentkusPValue(disagreementAt(i), n, maxDisagreement),
  )
}

/** Candidates for the threshold, safest first: even steps of mean depth on data that the tests do not see. */
export function thresholdCandidates(policy: PolicyFile, traces: TraceSet, count = 64): number[] {
  const points = sweepThresholds(policy, traces).filter(({ threshold }) => threshold !== null)
  const most = points[0]?.meanLayers
  const least = points.at(-1)?.meanLayers
  if (most === undefined || least === undefined) return []
  const candidates: number[] = []
  let step = 0
  for (const { threshold, meanLayers } of points) {
    if (meanLayers > most - ((most - least) * step) / Math.max(1, count - 1) + 1e-9) continue
    candidates.push(threshold!)
    while (step < count && meanLayers <= most - ((most - least) * step) / Math.max(1, count - 1) + 1e-9) step++
  }
  return candidates
}

/** The first sequence of each question: asked with several draws of shots it is no more than one unit. */
function oncePerQuestion(traces: TraceSet): TraceSet {
  const first = new Map<string, number>()
  for (const { question, sequence } of traces.instances) if (!first.has(question)) first.set(question, sequence)
  const own = new Set(first.values())
  return selectTraces(traces, (sequence) => own.has(sequence))
}

/**
 * Chooses the threshold so that the disagreement with full depth is bounded, and records it. `candidates` (safest first)
 * come from data other than `given`; the instances must be drawn as those that the policy will meet.
 */
export function boundPolicy(
  policy: PolicyFile,
  candidates: readonly number[],
  given: TraceSet,
  request: BoundRequest,
): PolicyFile {
  const { maxDisagreement, confidence, measure = 'any' } = request
  if (!(maxDisagreement > 0 && maxDisagreement < 1))
    throw new InputError('the greatest disagreement must be between 0 and 1')
  if (!(confidence > 0 && confidence < 1)) throw new InputError('the confidence must be between 0 and 1')
  const traces = oncePerQuestion(given)
  const n = traces.sequences
  const decisions = applyPolicy(policy, traces).map(({ decision }) => decision)
  const { layers, instances } = traces
  const exitsAt = (threshold: number | null): number[] =>
    decisions.map((decision) => exitLayer(decision, threshold, policy.checked_layers, layers))
  const disagreementAt = (threshold: number | null): number => {
    const losses = sequenceLosses(traces, exitsAt(threshold), measure)
    return n === 0 ? 0 : losses.reduce((sum, loss) => sum + loss, 0) / n
  }
  const { chosen, tested, pValue } = testCandidates(
    candidates.length,
    n,
    (i) => disagreementAt(candidates[i]!),
    request,
  )
  const threshold = chosen < 0 ? null : candidates[chosen]!
  const exits = exitsAt(threshold)
  const bound: Bound = {
    max_disagreement: maxDisagreement,
    confidence,
    unit: traces.unit === 'generated' ? 'sequence' : 'answer',
    measure,
    units: n,
    tasks: taskNames(traces),
    holds: chosen >= 0,
    tested,
    thresholds: candidates.length,
    disagreement: chosen < 0 ? null : disagreementAt(threshold),
    p_value: pValue,
    mean_layers: instances.length === 0 ? layers : exits.reduce((sum, exit) => sum + exit + 1, 0) / instances.length,
    units_needed: unitsNeeded(request),
  }
  return { ...policy, threshold, bound }
}

/** Loss of each sequence in [0, 1]: whether any of its tokens differs from full depth's, or the share that do. */
function sequenceLosses({ instances }: TraceSet, exits: readonly number[], measure: 'any' | 'mean'): number[] {
  const differing = new Map<number, { tokens: number; different: number }>()
  for (const [i, { sequence, agree }] of instances.entries()) {
    const counts = differing.get(sequence) ?? { tokens: 0, different: 0 }
    counts.tokens++
    if (agree[exits[i]!] === 0) counts.different++
    differing.set(sequence, counts)
  }
  return [...differing.values()].map(({ tokens, different }) =>
    measure === 'any' ? Number(different > 0) : different / tokens,
  )
}
