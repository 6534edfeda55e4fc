import type { CrfClassifier } from '../depth/classifier.js'
import { stateScore } from '../depth/crf.js'
import { InputError } from '../errors.js'
import { minimise } from './lbfgs.js'
import type { Chains } from './samples.js'

/**
 * A linear-chain CRF of two labels (Lafferty et al. 2001): a state weight for each label and feature and a bias of 1, and
 * the four transitions; no start or end transitions. Minimises -log-likelihood + c2 |w|^2, CRFsuite's objective. With
 * `perLayer` every check has weights of its own.
 *
 * @param chains raw features
 * @param options `start`: where to begin, where it has as many weights; the objective is convex, so it costs or saves time only
 */
export function fitCrf(
  chains: Chains,
  { c2, perLayer, start }: { c2: number; perLayer: boolean; start?: readonly CrfClassifier[] },
): CrfClassifier[] {
  const checks = chains.x[0]?.length ?? 0
  const d = chains.x[0]?.[0]?.length ?? 0
  const groups = perLayer ? checks : 1
  // Per group: state weights of label 0, of label 1, then transitions 00, 01, 10, 11.
  const width = 2 * (d + 1) + 4
  const known = (start ?? []).flatMap(({ state, transitions }) => [...state, ...transitions].flat())
  const { x: w, converged } = minimise(
    (at, gradient) => negativeLogLikelihood(chains, at, gradient, { d, width, groups, c2 }),
    known.length === groups * width ? Float64Array.from(known) : new Float64Array(groups * width),
    { tolerance: 1e-5 },
  )
  if (!converged || !w.every(Number.isFinite)) throw new InputError('the CRF did not converge; use a larger c2')
  return Array.from({ length: groups }, (_, g) => {
    const part = Array.from(w.subarray(g * width, (g + 1) * width))
    const t = part.slice(2 * (d + 1))
    return {
      type: 'crf',
      state: [part.slice(0, d + 1), part.slice(d + 1, 2 * (d + 1))],
      transitions: [
        [t[0]!, t[1]!],
        [t[2]!, t[3]!],
      ],
    }
  })
}

interface Shape {
  readonly d: number
  readonly width: number
  readonly groups: number
  readonly c2: number
}

function negativeLogLikelihood(
  { x, y }: Chains,
  w: Float64Array,
  gradient: Float64Array,
  { d, width, groups, c2 }: Shape,
): number {
  let value = 0
  for (let k = 0; k < w.length; k++) {
    value += c2 * w[k]! * w[k]!
    gradient[k] = 2 * c2 * w[k]!
  }
  const bias = d + 1
  for (const [n, rows] of x.entries()) {
    const labels = y[n]!
    const length = rows.length
    const states = new Float64Array(2 * length)
    const transitions = new Float64Array(4 * length)
    for (let t = 0; t < length; t++) {
      const base = groups === 1 ? 0 : t * width
      for (let label = 0; label < 2; label++) {
        const from = base + label * bias
        let score = w[from + d]!
        for (let k = 0; k < d; k++) score += w[from + k]! * rows[t]![k]!
        states[2 * t + label] = score
      }
      for (let k = 0; k < 4; k++) transitions[4 * t + k] = w[base + 2 * bias + k]!
    }
    const { logPartition, marginals, pairs } = forwardBackward(states, transitions)
    value += logPartition
    for (let t = 0; t < length; t++) {
      const base = groups === 1 ? 0 : t * width
      const gold = labels[t]!
      value -= states[2 * t + gold]!
      for (let label = 0; label < 2; label++) {
        const error = (label === 1 ? marginals[t]! : 1 - marginals[t]!) - (label === gold ? 1 : 0)
        const from = base + label * bias
        for (let k = 0; k < d; k++) gradient[from + k]! += error * rows[t]![k]!
        gradient[from + d]! += error
      }
      if (t === 0) continue
      const pair = 2 * labels[t - 1]! + gold
      value -= transitions[4 * t + pair]!
      for (let k = 0; k < 4; k++) gradient[base + 2 * bias + k]! += pairs[4 * t + k]! - (k === pair ? 1 : 0)
    }
  }
  return value
}

/**
 * Full marginals of a chain of length T.
 *
 * @param states [T, 2] state scores
 * @param transitions [T, 4] scores of the step into t: 00, 01, 10, 11; those of t = 0 are not read
 * @returns marginals [T], P(label 1); pairs [T, 4], P(label before, label) of the step into t
 */
export function forwardBackward(
  states: Float64Array,
  transitions: Float64Array,
): { logPartition: number; marginals: Float64Array; pairs: Float64Array } {
  const length = states.length / 2
  // Alphas are normalised at every step, betas by their sum; only the ratios matter.
  const alpha = new Float64Array(2 * length)
  const beta = new Float64Array(2 * length)
  const pairs = new Float64Array(4 * length)
  const marginals = new Float64Array(length)
  let logPartition = 0
  for (let t = 0; t < length; t++) {
    let a0 = states[0]!
    let a1 = states[1]!
    if (t > 0) {
      const p0 = Math.log(alpha[2 * t - 2]!)
      const p1 = Math.log(alpha[2 * t - 1]!)
      a0 = states[2 * t]! + logSum(p0 + transitions[4 * t]!, p1 + transitions[4 * t + 2]!)
      a1 = states[2 * t + 1]! + logSum(p0 + transitions[4 * t + 1]!, p1 + transitions[4 * t + 3]!)
    }
    const norm = logSum(a0, a1)
    logPartition += norm
    alpha[2 * t] = Math.exp(a0 - norm)
    alpha[2 * t + 1] = Math.exp(a1 - norm)
  }
  beta[2 * length - 2] = 1
  beta[2 * length - 1] = 1
  for (let t = length - 1; t >= 0; t--) {
    const m0 = alpha[2 * t]! * beta[2 * t]!
    const m1 = alpha[2 * t + 1]! * beta[2 * t + 1]!
    marginals[t] = m1 / (m0 + m1)
    if (t === 0) break
    // Scores of one step differ by little beside what exp can hold once their largest is taken off.
    let most = Number.NEGATIVE_INFINITY
    for (let k = 0; k < 4; k++) most = Math.max(most, transitions[4 * t + k]! + states[2 * t + (k & 1)]!)
    let total = 0
    let b0 = 0
    let b1 = 0
    for (let k = 0; k < 4; k++) {
      const onward = Math.exp(transitions[4 * t + k]! + states[2 * t + (k & 1)]! - most) * beta[2 * t + (k & 1)]!
      if (k < 2) b0 += onward
      else b1 += onward
      const joint = alpha[2 * t - 2 + (k >> 1)]! * onward
      pairs[4 * t + k] = joint
      total += joint
    }
    for (let k = 0; k < 4; k++) pairs[4 * t + k]! /= total
    beta[2 * t - 2] = b0 / (b0 + b1)
    beta[2 * t - 1] = b1 / (b0 + b1)
  }
  return { logPartition, marginals, pairs }
}

function logSum(a: number, b: number): number {
  const most = Math.max(a, b)
  return most + Math.log(Math.exp(a - most) + Math.exp(b - most))
}

/** Full-sequence marginals of label 1 over the checked layers of one instance: [checks]. */
export function crfMarginals(classifiers: readonly CrfClassifier[], rows: readonly Float64Array[]): Float64Array {
  const states = new Float64Array(2 * rows.length)
  const transitions = new Float64Array(4 * rows.length)
  for (const [t, row] of rows.entries()) {
    const { state, transitions: steps } = classifiers.length === 1 ? classifiers[0]! : classifiers[t]!
    states[2 * t] = stateScore(state[0], row)
    states[2 * t + 1] = stateScore(state[1], row)
    transitions.set([...steps[0], ...steps[1]], 4 * t)
  }
  return forwardBackward(states, transitions).marginals
}
