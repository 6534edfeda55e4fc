/** Per label (0, 1): a weight per feature, then one for a bias of 1. */
export type StateWeights = readonly [readonly number[], readonly number[]]

/** [label before][label]. */
export type Transitions = readonly [readonly [number, number], readonly [number, number]]

/** log(alpha(1) / alpha(0)) before the first layer; nothing reads it. */
export const START = 0

/** Sum of weights times features, plus the bias. */
export function stateScore(weights: readonly number[], x: ArrayLike<number>): number {
  const n = weights.length - 1
  let sum = weights[n]!
  for (let i = 0; i < n; i++) sum += weights[i]! * x[i]!
  return sum
}

/**
 * One forward step of a linear-chain CRF of two labels (Lafferty et al. 2001), O(1). With
 * alpha'(y') = exp(s(y')) sum_y alpha(y) exp(t(y, y')) only the ratio of the two alphas matters, and its logarithm
 * neither overflows nor vanishes over any number of layers.
 *
 * @param logRatio log(alpha(1) / alpha(0)) of the layer before
 * @param difference s(1) - s(0), state scores of this layer
 * @returns log(alpha'(1) / alpha'(0))
 */
export function forwardStep(logRatio: number, transitions: Transitions, difference: number): number {
  const [[t00, t01], [t10, t11]] = transitions
  return difference + logSumExp(t01, logRatio + t11) - logSumExp(t00, logRatio + t10)
}

/** log(exp(a) + exp(b)). */
export function logSumExp(a: number, b: number): number {
  return a >= b ? a + Math.log1p(Math.exp(b - a)) : b + Math.log1p(Math.exp(a - b))
}
