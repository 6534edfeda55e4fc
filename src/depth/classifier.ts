import { forwardStep, START, type StateWeights, stateScore, type Transitions } from './crf.js'

/** Standardisation of features: (x - mean) / deviation, the deviation being the population's. */
export interface Scaling {
  readonly mean: readonly number[]
  readonly deviation: readonly number[]
}

/** w . z + b on standardised features z: a linear SVM's signed value, or a logistic regression's log-odds. */
export interface LinearClassifier {
  readonly type: 'linear'
  readonly scaling: Scaling
  readonly weights: readonly number[]
  readonly intercept: number
}

/** sum_i c_i exp(-gamma |z - s_i|^2) + b on standardised features z; c_i is alpha_i y_i. */
export interface RbfClassifier {
  readonly type: 'rbf'
  readonly scaling: Scaling
  readonly gamma: number
  readonly support_vectors: readonly (readonly number[])[]
  readonly coefficients: readonly number[]
  readonly intercept: number
}

/** One step of a linear chain over the checked layers: labels 0 (go on) and 1 (stop), raw features and a bias of 1. */
export interface CrfClassifier {
  readonly type: 'crf'
  /** Per label: a weight per feature, the bias last. */
  readonly state: StateWeights
  /** [label before][label]: weights of the step into this check; those of the first check are not used. */
  readonly transitions: Transitions
}

export type Classifier = LinearClassifier | RbfClassifier | CrfClassifier

/** Value of a linear classifier, O(features). */
export function linearValue({ scaling, weights, intercept }: LinearClassifier, x: ArrayLike<number>): number {
  let sum = intercept
  for (let i = 0; i < weights.length; i++) sum += weights[i]! * standardised(scaling, x, i)
  return sum
}

/** Value of an RBF classifier, O(support vectors x features). */
export function rbfValue(classifier: RbfClassifier, x: ArrayLike<number>): number {
  const { scaling, gamma, support_vectors: vectors, coefficients } = classifier
  const z = Array.from(scaling.mean, (_, i) => standardised(scaling, x, i))
  let sum = classifier.intercept
  for (let v = 0; v < vectors.length; v++) {
    const vector = vectors[v]!
    let distance = 0
    for (let i = 0; i < z.length; i++) {
      const d = z[i]! - vector[i]!
      distance += d * d
    }
    sum += coefficients[v]! * Math.exp(-gamma * distance)
  }
  return sum
}

function standardised({ mean, deviation }: Scaling, x: ArrayLike<number>, i: number): number {
  return (x[i]! - mean[i]!) / deviation[i]!
}

/** 1 / (1 + exp(-x)), without overflow. */
export function sigmoid(x: number): number {
  if (x >= 0) return 1 / (1 + Math.exp(-x))
  const e = Math.exp(x)
  return e / (1 + e)
}

/** Where a token is in its checks: how many it had, and for a CRF log(alpha(1) / alpha(0)) of the last. */
export interface DecisionState {
  checks: number
  logRatio: number
}

export function startDecision(): DecisionState {
  return { checks: 0, logRatio: START }
}

/**
 * The online value at the next checked layer: the signed value of an SVM, P(label 1) of a logistic regression, and for a
 * CRF alpha(1) / (alpha(0) + alpha(1)), the marginal of label 1 in the chain that is cut after this layer. One
 * classifier serves all checks, or each check has its own.
 */
export function decide(
  classifiers: readonly Classifier[],
  probability: boolean,
  x: ArrayLike<number>,
  state: DecisionState,
): number {
  const classifier = classifiers.length === 1 ? classifiers[0]! : classifiers[state.checks]!
  const first = state.checks === 0
  state.checks++
  switch (classifier.type) {
    case 'linear': {
      const value = linearValue(classifier, x)
      return probability ? sigmoid(value) : value
    }
    case 'rbf':
      return rbfValue(classifier, x)
    case 'crf': {
      const difference = stateScore(classifier.state[1], x) - stateScore(classifier.state[0], x)
      state.logRatio = first ? difference : forwardStep(state.logRatio, classifier.transitions, difference)
      return sigmoid(state.logRatio)
    }
  }
}
