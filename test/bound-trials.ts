import { type Applied, applyPolicy, exitLayer } from '../src/calibrate/apply.js'
import { type BoundRequest, testCandidates } from '../src/calibrate/bound.js'
import type { TraceSet } from '../src/calibrate/traces.js'
import type { PolicyFile } from '../src/depth/policy-file.js'
import { createRandomStream } from '../src/engine/schedule/random-stream.js'

/** What a bound did over many calibration sets. */
export interface BoundTrials {
  /** Sets whose threshold disagrees with full depth, over the whole population, more than the bound allows. */
  readonly violations: number
  /** Sets with which no threshold passed, or none at which any token of the population exits. */
  readonly fullDepth: number
  /** The population's mean depth at the chosen threshold, averaged over the sets. */
  readonly meanLayers: number
  /** The population's disagreement with each candidate. */
  readonly truth: readonly number[]
}

export interface Draws {
  readonly sets: number
  /** Sequences of a set. */
  readonly size: number
  readonly seed: number
}

/**
 * Takes traces as the population, draws calibration sets from them with replacement, tests the thresholds with each and
 * looks up what the chosen one does to the population.
 */
export function boundTrials(
  policy: PolicyFile,
  thresholds: readonly number[],
  population: TraceSet,
  request: BoundRequest,
  { sets, size, seed }: Draws,
): BoundTrials {
  const applied = applyPolicy(policy, population)
  const outcomes = thresholds.map((threshold) => outcomeOf(policy, applied, threshold, population, request))
  const truth = outcomes.map(({ losses }) => mean(losses))
  const random = createRandomStream(seed)
  let violations = 0
  let fullDepth = 0
  let depths = 0
  for (let set = 0; set < sets; set++) {
    const drawn = Int32Array.from({ length: size }, () => Math.floor(random() * population.sequences))
    const disagreement = (i: number) => drawn.reduce((sum, unit) => sum + outcomes[i]!.losses[unit]!, 0) / size
    const { chosen } = testCandidates(thresholds.length, size, disagreement, request)
    const meanLayers = outcomes[chosen]?.meanLayers ?? population.layers
    if (meanLayers === population.layers) fullDepth++
    else if (truth[chosen]! > request.maxDisagreement) violations++
    depths += meanLayers
  }
  return { violations, fullDepth, meanLayers: depths / sets, truth }
}

/** Loss of every sequence and mean depth of all tokens; counted without the code that is on trial. */
function outcomeOf(
  policy: PolicyFile,
  applied: readonly Applied[],
  threshold: number,
  population: TraceSet,
  { measure = 'any' }: BoundRequest,
) {
  const tokens = new Map<number, number[]>()
  let depth = 0
  for (const [i, { decision }] of applied.entries()) {
    const { sequence, agree } = population.instances[i]!
    const exit = exitLayer(decision, threshold, policy.checked_layers, population.layers)
    depth += exit + 1
    const different = 1 - agree[exit]!
    const own = tokens.get(sequence)
    if (own === undefined) tokens.set(sequence, [different])
    else own.push(different)
  }
  const losses = Float64Array.from(tokens.values(), (all) => (measure === 'any' ? Math.max(...all) : mean(all)))
  return { losses, meanLayers: depth / population.instances.length }
}

function mean(values: ArrayLike<number>): number {
  return Array.from(values).reduce((a, b) => a + b, 0) / values.length
}
