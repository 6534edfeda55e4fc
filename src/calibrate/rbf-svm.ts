import { InputError } from '../errors.js'
import type { Samples } from './samples.js'

/** The largest violation of the optimality conditions that is left. */
const TOLERANCE = 1e-5
/** Bytes of kernel rows that are kept. */
const CACHE_BYTES = 256 * 1024 * 1024
/** Stands for a curvature that is not positive (equal samples), as in libsvm. */
const TINY = 1e-12

/**
 * An SVM with kernel exp(-gamma |a - b|^2), libsvm's C-SVC: the dual by sequential minimal optimisation with second
 * order working sets (Fan, Chen and Lin 2005). The value of x is sum_i coefficients_i K(vectors_i, x) + intercept.
 *
 * @param samples features standardised, both labels present
 */
export function fitRbfSvm(
  { x, y: labels }: Samples,
  { C, gamma, weights }: { C: number; gamma: number; weights: readonly [number, number] },
): { vectors: number[][]; coefficients: number[]; intercept: number } {
  const n = x.length
  const y = Float64Array.from(labels, (label) => (label === 1 ? 1 : -1))
  const upper = Float64Array.from(labels, (label) => C * weights[label === 1 ? 1 : 0])
  const alpha = new Float64Array(n)
  const gradient = new Float64Array(n).fill(-1)
  const kernel = createKernel(x, gamma)
  const maxSteps = Math.max(10_000_000, 100 * n)

  for (let step = 0; ; step++) {
    if (step === maxSteps) throw new InputError(`the RBF SVM did not converge in ${maxSteps} steps; use a smaller C`)
    let i = -1
    let high = Number.NEGATIVE_INFINITY
    for (let t = 0; t < n; t++) {
      if (y[t] === 1 ? alpha[t]! >= upper[t]! : alpha[t]! <= 0) continue
      const value = -y[t]! * gradient[t]!
      if (value > high) {
        high = value
        i = t
      }
    }
    if (i < 0) break
    const rowI = kernel(i)
    let j = -1
    let low = Number.POSITIVE_INFINITY
    let best = 0
    for (let t = 0; t < n; t++) {
      if (y[t] === 1 ? alpha[t]! <= 0 : alpha[t]! >= upper[t]!) continue
      const value = -y[t]! * gradient[t]!
      if (value < low) low = value
      const difference = high - value
      if (difference <= 0) continue
      const gain = (difference * difference) / Math.max(2 - 2 * rowI[t]!, TINY)
      if (gain > best) {
        best = gain
        j = t
      }
    }
    if (j < 0 || high - low < TOLERANCE) break

    const rowJ = kernel(j)
    const curvature = Math.max(2 - 2 * rowI[j]!, TINY)
    // Along y_i alpha_i + y_j alpha_j = constant, by s: alpha_i += y_i s, alpha_j -= y_j s.
    let s = (-y[i]! * gradient[i]! + y[j]! * gradient[j]!) / curvature
    const roomI = y[i] === 1 ? upper[i]! - alpha[i]! : alpha[i]!
    const roomJ = y[j] === 1 ? alpha[j]! : upper[j]! - alpha[j]!
    s = Math.min(s, roomI, roomJ)
    // Exactly onto a bound where it ends there: rounding must not leave a sample a hair inside.
    alpha[i] = s === roomI ? (y[i] === 1 ? upper[i]! : 0) : alpha[i]! + y[i]! * s
    alpha[j] = s === roomJ ? (y[j] === 1 ? 0 : upper[j]!) : alpha[j]! - y[j]! * s
    for (let t = 0; t < n; t++) gradient[t]! += y[t]! * s * (rowI[t]! - rowJ[t]!)
  }

  const vectors: number[][] = []
  const coefficients: number[] = []
  for (let t = 0; t < n; t++) {
    if (alpha[t]! === 0) continue
    vectors.push(Array.from(x[t]!))
    coefficients.push(alpha[t]! * y[t]!)
  }
  return { vectors, coefficients, intercept: intercept(y, alpha, upper, gradient) }
}

/** Mean over samples between their bounds, where the value must be y; without any, the middle of what the bounds allow. */
function intercept(y: Float64Array, alpha: Float64Array, upper: Float64Array, gradient: Float64Array): number {
  let sum = 0
  let free = 0
  let high = Number.POSITIVE_INFINITY
  let low = Number.NEGATIVE_INFINITY
  for (let t = 0; t < y.length; t++) {
    const value = -y[t]! * gradient[t]!
    if (alpha[t]! > 0 && alpha[t]! < upper[t]!) {
      sum += value
      free++
    } else if (alpha[t]! <= 0 === (y[t] === 1)) low = Math.max(low, value)
    else high = Math.min(high, value)
  }
  return free > 0 ? sum / free : (high + low) / 2
}

/** Rows of the kernel matrix, [n] each, kept in float32 as far as the memory for them goes. */
function createKernel(x: readonly Float64Array[], gamma: number): (i: number) => Float32Array {
  const n = x.length
  const d = x[0]?.length ?? 0
  const flat = new Float64Array(n * d)
  for (const [i, row] of x.entries()) flat.set(row, i * d)
  const rows = new Map<number, Float32Array>()
  const most = Math.max(2, Math.floor(CACHE_BYTES / (4 * n)))
  return (i) => {
    const kept = rows.get(i)
    if (kept !== undefined) return kept
    let row: Float32Array | undefined
    if (rows.size >= most) {
      const oldest = rows.keys().next().value as number
      row = rows.get(oldest)
      rows.delete(oldest)
    }
    row ??= new Float32Array(n)
    for (let t = 0; t < n; t++) {
      let distance = 0
      for (let k = 0; k < d; k++) {
        const difference = flat[i * d + k]! - flat[t * d + k]!
        distance += difference * difference
      }
      row[t] = Math.exp(-gamma * distance)
    }
    rows.set(i, row)
    return row
  }
}
