import type { CrfClassifier } from '../depth/classifier.js'
import type { PolicyFile, SplitFigures } from '../depth/policy-file.js'
import { InputError } from '../errors.js'
import { applyPolicy, exitLayer } from './apply.js'
import { type FitOptions, fitPolicy } from './fit.js'
import { outcomes } from './outcomes.js'
import { quantile } from './quantile.js'
import { countQuestions, createSplit, splitTraces } from './split.js'
import { chooseThreshold, sweepDecisions, type Target, withThreshold } from './threshold.js'
import type { TraceInstance, TraceSet } from './traces.js'

const FOLDS = 5

/** Questions that a cross-fit takes at least. */
export const LEAST_QUESTIONS = 2 * FOLDS

export interface CrossFit {
  readonly policy: PolicyFile
  /** Values of every instance that was held out, split by split: [splits x held out][checks]. */
  readonly decisions: readonly Float64Array[]
}

export interface CrossFitOptions {
  /** Times that the questions are dealt out anew to five folds; four give 20 random splits. Default 4. */
  readonly rounds?: number
  /** Of the splits; default 0. */
  readonly seed?: number
}

/** Instances that a classifier was fitted without, and its values of them. */
interface HeldOut {
  readonly instances: readonly TraceInstance[]
  readonly decisions: readonly Float64Array[]
}

/**
 * Fits a policy on all of the traces and chooses its threshold on all of them too: values for the choice come from
 * classifiers that were fitted without the question they judge, over many random splits, so that no split's luck decides. The
 * values of the splits must compare, as log-odds and probabilities do.
 *
 * The calibration that is recorded is of these values. What to expect on other questions is recorded beside it: each fold under
 * the threshold that the other folds of its round would have chosen. No bound may be tested on these instances.
 */
export function crossFit(
  traces: TraceSet,
  options: FitOptions,
  target: Target,
  { rounds = 4, seed = 0 }: CrossFitOptions = {},
): CrossFit {
  const questions = countQuestions(traces)
  if (questions < LEAST_QUESTIONS) {
    throw new InputError(
      `${FOLDS}-fold calibration needs at least ${LEAST_QUESTIONS} questions, and there are ${questions}`,
    )
  }
  const policy = fitPolicy(traces, options)
  const { checked_layers: checked } = policy
  const pool = (parts: readonly HeldOut[]) => {
    const decisions = parts.flatMap((part) => part.decisions)
    const instances = parts.flatMap((part) => part.instances)
    return { decisions, points: sweepDecisions(decisions, checked, { layers: traces.layers, instances }) }
  }
  const held = Array.from({ length: rounds }, (_, round) => holdOut(traces, options, policy, seed + round))
  const { decisions, points } = pool(held.flat())
  const chosen = withThreshold(policy, points, traces, target)
  const figures = held.flatMap((folds) =>
    folds.map((fold) => {
      const others = pool(folds.filter((other) => other !== fold)).points
      const threshold = chooseThreshold(others, target)?.threshold ?? null
      const exits = fold.decisions.map((values) => exitLayer(values, threshold, checked, traces.layers))
      return outcomes({ ...traces, instances: fold.instances }, exits)
    }),
  )
  const splits: SplitFigures = {
    count: figures.length,
    mean_layers: spread(figures.map(({ meanLayers }) => meanLayers))!,
    agreement: spread(figures.map(({ agreement }) => agreement))!,
    losses: spread(figures.map(({ losses }) => losses)),
  }
  return { policy: { ...chosen, calibration: chosen.calibration && { ...chosen.calibration, splits } }, decisions }
}

function holdOut(traces: TraceSet, options: FitOptions, whole: PolicyFile, seed: number): HeldOut[] {
  const folds = Array.from({ length: FOLDS }, (_, fold) => fold)
  const part = splitTraces(traces, createSplit(folds, seed))
  // The CRF of all instances is near to that of four fifths, and its optimum is the only one.
  const start = whole.kind === 'adainfer-crf' ? { start: whole.classifiers as readonly CrfClassifier[] } : {}
  return folds.map((fold) => {
    const { instances, ...rest } = part(fold)
    const policy = fitPolicy(part(...folds.filter((other) => other !== fold)), { ...options, ...start })
    return { instances, decisions: applyPolicy(policy, { ...rest, instances }).map(({ decision }) => decision) }
  })
}

/** 5%, 50% and 95% quantiles; null where a value is not known. */
function spread(values: readonly (number | null)[]): readonly [number, number, number] | null {
  if (values.some((value) => value === null)) return null
  const sorted = (values as number[]).toSorted((a, b) => a - b)
  return [quantile(sorted, 0.05), quantile(sorted, 0.5), quantile(sorted, 0.95)]
}
