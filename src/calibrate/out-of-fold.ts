import type { PolicyFile } from '../depth/policy-file.js'
import { InputError } from '../errors.js'
import { applyPolicy } from './apply.js'
import { type FitOptions, fitPolicy } from './fit.js'
import { sweepDecisions, type Target, withThreshold } from './threshold.js'
import { selectTraces, type TraceSet } from './traces.js'

export interface OutOfFold {
  readonly policy: PolicyFile
  /** Out-of-fold values of every instance: [instances][checks]. */
  readonly decisions: readonly Float64Array[]
}

/**
 * Fits a policy on all of the traces and chooses its threshold on all of them too: values for the choice come from
 * classifiers that were fitted without the instance they judge (out-of-fold). Half for the fit and half for the choice
 * would waste half of the instances on each. The values of the folds must compare, as log-odds and probabilities do.
 *
 * The calibration that is recorded is of the out-of-fold values. No bound may be tested on these instances.
 */
export function fitOutOfFold(traces: TraceSet, options: FitOptions, target: Target, folds = 5): OutOfFold {
  const { sequences } = traces
  if (sequences < 2 * folds) {
    throw new InputError(`${folds}-fold calibration needs at least ${2 * folds} prompts, and there are ${sequences}`)
  }
  const fold = new Map([...new Set(traces.instances.map((i) => i.sequence))].map((id, rank) => [id, rank % folds]))
  const values = new Map<number, Float64Array[]>()
  for (let held = 0; held < folds; held++) {
    const policy = fitPolicy(
      selectTraces(traces, (id) => fold.get(id) !== held),
      options,
    )
    const part = selectTraces(traces, (id) => fold.get(id) === held)
    for (const [i, { decision }] of applyPolicy(policy, part).entries()) {
      const { sequence } = part.instances[i]!
      values.set(sequence, [...(values.get(sequence) ?? []), decision])
    }
  }
  // Instances of a sequence stand together and in order, in the parts as in the whole.
  const decisions = [...fold.keys()].flatMap((id) => values.get(id)!)
  const policy = fitPolicy(traces, options)
  const points = sweepDecisions(decisions, policy.checked_layers, traces)
  return { policy: withThreshold(policy, points, traces, target), decisions }
}
