import { sigmoid } from '../depth/classifier.js'
import { InputError } from '../errors.js'
import { cholesky, choleskySolve } from './cholesky.js'
import type { Samples } from './samples.js'

const MAX_STEPS = 200

/**
 * Logistic regression with L2 penalty and a free bias:
 * min 1/2 |w|^2 + C sum_i weight(y_i) log(1 + exp(-y_i (w x_i + b))), y in {-1, +1}, by Newton's method with halved steps.
 *
 * @param samples features standardised, both labels present
 */
export function fitLogistic(
  { x, y }: Samples,
  { C, weights }: { C: number; weights: readonly [number, number] },
): { weights: number[]; intercept: number } {
  const d = x[0]?.length ?? 0
  const size = d + 1
  let w: Float64Array<ArrayBufferLike> = new Float64Array(size)

  const loss = (at: Float64Array): number => {
    let sum = 0
    for (let k = 0; k < d; k++) sum += 0.5 * at[k]! * at[k]!
    for (const [i, row] of x.entries()) {
      const margin = (y[i] === 1 ? 1 : -1) * score(at, row)
      const softplus = margin > 0 ? Math.log1p(Math.exp(-margin)) : -margin + Math.log1p(Math.exp(margin))
      sum += C * weights[y[i] === 1 ? 1 : 0] * softplus
    }
    return sum
  }

  let current = loss(w)
  for (let step = 0; step < MAX_STEPS; step++) {
    const gradient = new Float64Array(size)
    const hessian = Array.from({ length: size }, () => new Float64Array(size))
    for (let k = 0; k < d; k++) {
      gradient[k] = w[k]!
      hessian[k]![k] = 1
    }
    for (const [i, row] of x.entries()) {
      const p = sigmoid(score(w, row))
      const weight = C * weights[y[i] === 1 ? 1 : 0]
      const error = weight * (p - y[i]!)
      const curvature = weight * p * (1 - p)
      for (let a = 0; a < size; a++) {
        const xa = a < d ? row[a]! : 1
        gradient[a]! += error * xa
        for (let b = 0; b <= a; b++) hessian[a]![b]! += curvature * xa * (b < d ? row[b]! : 1)
      }
    }
    // A direction without curvature (all probabilities at 0 or 1) is left nearly as it is.
    const direction = choleskySolve(cholesky(hessian), gradient)
    // Newton's decrement: half of it is how far the loss still is from its minimum.
    const decrement = direction.reduce((sum, value, k) => sum + value * gradient[k]!, 0)
    if (decrement <= 1e-14 * (1 + current)) return { weights: Array.from(w.subarray(0, d)), intercept: w[d]! }
    let rate = 1
    let next = w
    let value = Number.POSITIVE_INFINITY
    for (; rate > 1e-10; rate /= 2) {
      next = w.map((v, k) => v - rate * direction[k]!)
      value = loss(next)
      if (value <= current - 0.25 * rate * decrement) break
    }
    // No step lowers it: rounding is all that is left.
    if (!(value < current)) return { weights: Array.from(w.subarray(0, d)), intercept: w[d]! }
    w = next
    current = value
  }
  throw new InputError(`the logistic regression did not converge in ${MAX_STEPS} steps; use a smaller C`)
}

function score(w: Float64Array, row: Float64Array): number {
  let sum = w[row.length]!
  for (let k = 0; k < row.length; k++) sum += w[k]! * row[k]!
  return sum
}
