import type { CrfClassifier } from '../depth/classifier.js'
import type { PolicyFile, SplitFigures } from '../depth/policy-file.js'
import { InputError } from '../errors.js'
import { applyPolicy, exitLayer } from './apply.js'
import { type FitOptions, fitPolicy } from './fit.js'
import { type Outcome, outcomes } from './outcomes.js'
import { quantile } from './quantile.js'
import { countQuestions, createSplit, splitTraces } from './split.js'
import { chooseThreshold, sweepDecisions, type Target, withThreshold } from './threshold.js'
import type { TraceInstance, TraceSet } from './traces.js'

const FOLDS = 5
/** Shares of what a target allows that a threshold is chosen for in turn, until it holds on other questions. */
const STRICTER = [1, 0.5, 0] as const
/** Chosen without a margin, a threshold misses its target elsewhere about as often as not, though not by much. */
const MOST_OF_TARGET = 2

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
 * values of the splits must compare, as probabilities do and margins of SVMs do not: those are brought to log-odds (Platt 1999).
 *
 * Where thresholds chosen so miss the target by more than twice on questions that had no part in the choice, a stricter one is
 * chosen, and full depth where none holds.
 *
 * The calibration that is recorded is of these values. What to expect on other questions is recorded beside it: each fold under
 * the threshold that the other folds of its round would have chosen. No bound may be tested on these instances.
 */
export function crossFit(
  traces: TraceSet,
  given: FitOptions,
  target: Target,
  { rounds = 4, seed = 0 }: CrossFitOptions = {},
): CrossFit {
  const options: FitOptions = given.kind === 'adainfer-svm' ? { ...given, scores: 'log-odds' } : given
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
  const folds = held.flatMap((round) =>
    round.map((fold) => ({ fold, others: pool(round.filter((other) => other !== fold)).points })),
  )
  const elsewhere = (wanted: Target): Outcome[] =>
    folds.map(({ fold, others }) => {
      const threshold = chooseThreshold(others, wanted)?.threshold ?? null
      const exits = fold.decisions.map((values) => exitLayer(values, threshold, checked, traces.layers))
      return outcomes({ ...traces, instances: fold.instances }, exits)
    })
  const firstThatHolds = (): { chosen: PolicyFile; figures: readonly Outcome[] } => {
    for (const share of STRICTER) {
      const wanted = stricter(target, share)
      const figures = elsewhere(wanted)
      const chosen = withThreshold(policy, points, traces, wanted)
      const own = outcomes(traces, chosen)
      if (holds(figures, target, questions) && holds([own], target, questions)) return { chosen, figures }
    }
    return {
      chosen: withThreshold(policy, points.slice(0, 1), traces, target),
      figures: folds.map(({ fold: { instances } }) => outcomes({ ...traces, instances }, 'full')),
    }
  }
  const { chosen, figures } = firstThatHolds()
  const splits: SplitFigures = {
    count: figures.length,
    mean_layers: spread(figures.map(({ meanLayers }) => meanLayers))!,
    agreement: spread(figures.map(({ agreement }) => agreement))!,
    losses: spread(figures.map(({ losses }) => losses)),
  }
  const calibration = chosen.calibration && { ...chosen.calibration, value: target.value, splits }
  return { policy: { ...chosen, calibration }, decisions }
}

/** A target that allows a share of what this one allows. */
function stricter({ kind, value }: Target, share: number): Target {
  if (kind === 'mean-layers') return { kind, value }
  return { kind, value: kind === 'agreement' ? 1 - (1 - value) * share : value * share }
}

/**
 * Whether outcomes are what was asked for, or nearly. Thresholds that were chosen on some questions are held to it on others, and so is the
 * policy that was fitted on all: where a classifier's values fall off a cliff (the lowest layers as sure as the highest), a threshold that meets the
 * target at its edge loses everything elsewhere.
 */
function holds(figures: readonly Outcome[], { kind, value }: Target, questions: number): boolean {
  if (kind === 'mean-layers') return true
  const mean = (of: (outcome: Outcome) => number): number =>
    figures.reduce((sum, outcome) => sum + of(outcome), 0) / figures.length
  const missed = kind === 'agreement' ? 1 - mean(({ agreement }) => agreement) : mean(({ losses }) => losses ?? 0)
  const allowed = kind === 'agreement' ? 1 - value : value
  return missed <= MOST_OF_TARGET * allowed + 1 / questions
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
