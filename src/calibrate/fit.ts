import type { Classifier, CrfClassifier, LinearClassifier, RbfClassifier, Scaling } from '../depth/classifier.js'
import { type FeatureName, needsCheckBefore } from '../depth/exit-features.js'
import type { Label, PolicyFile, PolicyLens, Scores } from '../depth/policy-file.js'
import type { PolicyKind } from '../depth/policy-kind.js'
import { InputError } from '../errors.js'
import { fitCrf } from './crf.js'
import { fitLinearSvm } from './linear-svm.js'
import { fitLogistic } from './logistic.js'
import { marginOf, toLogOdds } from './platt.js'
import { fitRbfSvm } from './rbf-svm.js'
import {
  atCheck,
  type Chains,
  chainsOf,
  classWeights,
  fitScaling,
  frequentTokens,
  type GroupedSamples,
  onlyLabel,
  pooled,
  type Samples,
  standardise,
} from './samples.js'
import { type TraceSet, taskNames } from './traces.js'

/** What can be chosen when a classifier is fitted; the paper publishes none of it. */
export interface FitOptions {
  readonly kind: PolicyKind
  /** Default linear. */
  readonly kernel?: 'linear' | 'rbf'
  /** Of SVMs and logistic regression; default 1. */
  readonly C?: number
  /** Of the RBF kernel, on standardised features; default 0.5. */
  readonly gamma?: number
  /** Of the CRF: -log-likelihood + c2 |w|^2; default 0.1. */
  readonly c2?: number
  /** Default agreement. */
  readonly label?: Label
  /** One classifier per checked layer; default one for all, as in the paper. */
  readonly perLayer?: boolean
  /** Default none; a CRF takes none. */
  readonly classWeight?: 'none' | 'balanced' | readonly [number, number]
  /** Default gap and top_prob. */
  readonly features?: readonly FeatureName[]
  /**
   * How many of the tokens that the last layer gives most often the classifier tells apart, in an input each; default 0.
   * How sure a layer must be then depends on what it says.
   */
  readonly tokens?: number
  /** Of an SVM: its own margin (default), or log-odds, which compare between layers. */
  readonly scores?: Scores
  /** Layers after which a check runs; default all but the last. */
  readonly layers?: readonly number[]
  /** A CRF that is likely near; see `fitCrf`. */
  readonly start?: readonly CrfClassifier[]
  /** The lens that the traces were read through. */
  readonly lens?: PolicyLens
  /** Default the classifier's own boundary: 0 for an SVM, 0.5 for a probability. */
  readonly threshold?: number
  /** Default the traces' own. */
  readonly model?: { readonly name: string | null; readonly fingerprint: string | null }
  /** Default now. */
  readonly created?: Date
}

/** More inputs than this fit noise. */
const MAX_TOKENS = 64

/** Fits a classifier on traces: a policy without a calibrated threshold and without a bound. */
export function fitPolicy(traces: TraceSet, options: FitOptions): PolicyFile {
  const { kind, label = 'agreement', perLayer = false, classWeight = 'none' } = options
  const { features, checked } = plannedChecks(options, traces.layers)
  if (traces.instances.length === 0) throw new InputError('there is nothing to fit: no instances')
  if ((options.lens?.sha256 ?? null) !== traces.lens) {
    throw new InputError(
      traces.lens === null
        ? 'the traces were not read through a lens'
        : `the traces were read through ${options.lens === undefined ? 'a lens' : 'another lens than this one'}: give the one of SHA-256 ${traces.lens.slice(0, 12)}.. (--lens FILE)`,
    )
  }
  const inputs = { features, tokens: frequentTokens(traces, options.tokens ?? 0), checked_layers: checked }
  const chains = chainsOf(traces, inputs, label)
  const all = pooled(chains)
  const weights = classWeights(classWeight, all.y)
  return {
    format: 'shoal-policy',
    version: 1,
    kind,
    created: (options.created ?? new Date()).toISOString(),
    model: {
      name: (options.model ?? traces.model)?.name ?? null,
      fingerprint: (options.model ?? traces.model)?.fingerprint ?? null,
      layers: traces.layers,
    },
    features,
    lens: options.lens ?? null,
    tokens: inputs.tokens,
    check_tokens: traces.checkTokens,
    label,
    checked_layers: checked,
    per_layer: perLayer,
    parameters: parametersOf(options),
    class_weights: weights,
    classifiers: fitClassifiers(chains, all, options, weights),
    threshold: options.threshold ?? (kind === 'adainfer-svm' ? 0 : 0.5),
    training: {
      instances: traces.instances.length,
      samples: all.y.length,
      positive: all.y.reduce((sum, y) => sum + y, 0) / all.y.length,
      tasks: taskNames(traces),
      unit: traces.unit,
    },
    prompts: traces.prompts,
    calibration: null,
    bound: null,
  }
}

/**
 * What will be looked at, and after which layers.
 * @throws InputError where options contradict each other, or do not fit a model of so many layers
 */
export function plannedChecks(
  options: FitOptions,
  layers: number,
): { features: readonly FeatureName[]; checked: readonly number[] } {
  const features = options.features ?? ['gap', 'top_prob']
  const checked = options.layers ?? Array.from({ length: layers - 1 }, (_, layer) => layer)
  checkOptions(options, features, checked, layers)
  return { features, checked }
}

function checkOptions(
  options: FitOptions,
  features: readonly FeatureName[],
  checked: readonly number[],
  layers: number,
): void {
  const { kind, kernel, C, gamma, c2, classWeight = 'none', threshold, scores, tokens = 0 } = options
  const refuse = (given: unknown, name: string): void => {
    if (given !== undefined) throw new InputError(`${name} is not an option of ${kind}`)
  }
  const positive = (value: number | undefined, name: string): void => {
    if (value !== undefined && !(value > 0 && Number.isFinite(value))) {
      throw new InputError(`${name} must be greater than 0, not ${value}`)
    }
  }
  if (kind !== 'adainfer-svm') {
    refuse(kernel, 'kernel')
    refuse(scores, 'scores')
  }
  if (kind !== 'adainfer-crf') refuse(c2, 'c2')
  else {
    refuse(C, 'C')
    if (classWeight !== 'none') refuse(classWeight, 'class-weight')
  }
  if (kernel !== 'rbf') {
    if (kind === 'adainfer-svm' && gamma !== undefined) throw new InputError('gamma is an option of kernel=rbf')
    refuse(gamma, 'gamma')
  }
  positive(C, 'C')
  positive(gamma, 'gamma')
  if (c2 !== undefined && !(c2 >= 0 && Number.isFinite(c2))) throw new InputError(`c2 must be at least 0, not ${c2}`)
  if (typeof classWeight !== 'string') for (const weight of classWeight) positive(weight, 'class-weight')
  if (!(Number.isSafeInteger(tokens) && tokens >= 0 && tokens <= MAX_TOKENS)) {
    throw new InputError(`tokens must be a whole number from 0 to ${MAX_TOKENS}, not ${tokens}`)
  }
  if (threshold !== undefined && !Number.isFinite(threshold)) throw new InputError('the threshold must be a number')
  if (features.length === 0 || new Set(features).size < features.length) {
    throw new InputError('features must be a list without repetitions')
  }
  const ascending = checked.every((layer, i) => i === 0 || layer > checked[i - 1]!)
  if (checked.length === 0 || !ascending || checked[0]! < 0 || checked.at(-1)! > layers - 2) {
    throw new InputError(`the checked layers must be ascending, from 0 to ${layers - 2}`)
  }
  const gapAt = checked.find((layer) => layer > 0 && !checked.includes(layer - 1))
  if (features.some(needsCheckBefore) && gapAt !== undefined) {
    throw new InputError(`cos_attention and cos_mlp of layer ${gapAt} need a check of layer ${gapAt - 1}`)
  }
}

function parametersOf(options: FitOptions): PolicyFile['parameters'] {
  const { kind, kernel = 'linear', C = 1, gamma = 0.5, c2 = 0.1, scores = 'margin' } = options
  if (kind === 'adainfer-crf') return { c2 }
  if (kind === 'adainfer-logistic') return { C }
  return { kernel, C, ...(kernel === 'rbf' ? { gamma } : {}), ...(scores === 'margin' ? {} : { scores }) }
}

function fitClassifiers(
  chains: Chains,
  all: GroupedSamples,
  options: FitOptions,
  weights: readonly [number, number],
): Classifier[] {
  const { kind, perLayer = false, c2 = 0.1, start } = options
  if (kind === 'adainfer-crf') return fitCrf(chains, { c2, perLayer, ...(start === undefined ? {} : { start }) })
  if (!perLayer) {
    const only = onlyLabel(all.y)
    if (only !== null) throw new InputError(`there is nothing to fit: every sample has label ${only}`)
    return [fitOne(all, options, weights)]
  }
  const { classWeight = 'none' } = options
  return chains.x[0]!.map((_, check) => {
    const samples = atCheck(chains, check)
    return fitOne(samples, options, classWeights(classWeight, samples.y))
  })
}

function fitOne(
  { x, y, questions }: GroupedSamples,
  options: FitOptions,
  weights: readonly [number, number],
): Classifier {
  const { kind, C = 1, scores = 'margin' } = options
  const scaling = fitScaling(x)
  const only = onlyLabel(y)
  if (only !== null) return constant(kind === 'adainfer-logistic' || scores === 'log-odds', only, y.length, scaling)
  const samples = { x: standardise(x, scaling), y, questions }
  if (kind === 'adainfer-logistic') return { type: 'linear', scaling, ...fitLogistic(samples, { C, weights }) }
  const svm = fitSvm(samples, scaling, options, weights)
  if (scores === 'margin') return svm
  return toLogOdds(svm, samples, (part) => marginOf(fitSvm(part, scaling, options, weights)))
}

function fitSvm(
  samples: Samples,
  scaling: Scaling,
  { kernel = 'linear', C = 1, gamma = 0.5 }: FitOptions,
  weights: readonly [number, number],
): LinearClassifier | RbfClassifier {
  if (kernel === 'linear') return { type: 'linear', scaling, ...fitLinearSvm(samples, { C, weights }) }
  const { vectors, coefficients, intercept } = fitRbfSvm(samples, { C, gamma, weights })
  return { type: 'rbf', scaling, gamma, support_vectors: vectors, coefficients, intercept }
}

/**
 * Where all samples of a layer have one label (the top layers may all agree), no boundary can be fitted: an SVM says +1
 * or -1; log-odds would run off, so they are those of (n + 1/2) to 1/2.
 */
function constant(isLogOdds: boolean, label: 0 | 1, n: number, scaling: Scaling): Classifier {
  const size = isLogOdds ? Math.log(2 * n + 1) : 1
  return { type: 'linear', scaling, weights: scaling.mean.map(() => 0), intercept: label === 1 ? size : -size }
}
