import { InputError } from '../errors.js'
import { cholesky, choleskySolve } from './cholesky.js'
import type { Samples } from './samples.js'

/** Complementarity, of the value, at which the steps end: float64 carries them no further. */
const TOLERANCE = 1e-12
/** Duality gap, of the value, up to which it is a solution; beyond 1e-9 only with a huge C, where w is still close. */
const MOST_GAP = 1e-6
const MAX_STEPS = 200

/**
 * A linear SVM with hinge loss and a regularised bias, liblinear's L2-regularised L1-loss problem:
 * min 1/2 (|w|^2 + b^2) + C sum_i weight(y_i) max(0, 1 - y_i (w x_i + b)), y in {-1, +1}.
 *
 * Solved by a primal-dual interior-point method on the dual, min 1/2 a^T V V^T a - sum a with 0 <= a <= C weight
 * (Nocedal and Wright 2006, section 16.6): with few features a Newton step is linear in the samples, and some thirty are
 * enough. Coordinate descent, liblinear's way, did not come to rest in 100,000 passes over 6,000 samples.
 *
 * @param samples features standardised
 */
export function fitLinearSvm(
  { x, y }: Samples,
  { C, weights }: { C: number; weights: readonly [number, number] },
): { weights: number[]; intercept: number } {
  const d = x[0]?.length ?? 0
  // Rows y_i (x_i, 1).
  const v = x.map((row, i) => {
    const sign = y[i] === 1 ? 1 : -1
    return Float64Array.from({ length: d + 1 }, (_, k) => sign * (k < d ? row[k]! : 1))
  })
  const upper = Float64Array.from(y, (label) => C * weights[label === 1 ? 1 : 0])
  const w = solveDual(v, upper, d + 1)
  return { weights: Array.from(w.subarray(0, d)), intercept: w[d]! }
}

/** w = V^T a at the solution. Slacks of the upper bound and both multipliers are kept apart from a: none may cancel. */
function solveDual(v: readonly Float64Array[], upper: Float64Array, size: number): Float64Array {
  const n = v.length
  const a = upper.map((u) => u / 2)
  const room = Float64Array.from(a)
  const low = new Float64Array(n).fill(1)
  const high = new Float64Array(n).fill(1)
  const diagonal = new Float64Array(n)
  let w = products(v, a, size)
  // Where the solution is degenerate the last steps lose digits again, so the best w is kept.
  let best = { w, primal: Number.POSITIVE_INFINITY }
  let dual = Number.NEGATIVE_INFINITY

  for (let step = 0; step < MAX_STEPS; step++) {
    let gap = 0
    let total = 0
    for (let i = 0; i < n; i++) {
      gap += low[i]! * a[i]! + high[i]! * room[i]!
      total += a[i]!
      diagonal[i] = low[i]! / a[i]! + high[i]! / room[i]!
    }
    if (!Number.isFinite(gap) || !w.every(Number.isFinite)) break
    const half = dot(w, w) / 2
    const primal = half + v.reduce((sum, row, i) => sum + upper[i]! * Math.max(0, 1 - dot(row, w)), 0)
    if (primal < best.primal) best = { w, primal }
    dual = Math.max(dual, total - half)
    if (gap <= TOLERANCE * (1 + total)) break
    const residual = Float64Array.from(v, (row, i) => dot(row, w) - 1 - low[i]! + high[i]!)

    // Woodbury: (D + V V^T)^-1 needs only the small matrix I + V^T D^-1 V.
    const small = Array.from({ length: size }, (_, k) => {
      const row = new Float64Array(size)
      row[k] = 1
      return row
    })
    for (let i = 0; i < n; i++) {
      const row = v[i]!
      for (let k = 0; k < size; k++) {
        const scaled = row[k]! / diagonal[i]!
        for (let m = 0; m <= k; m++) small[k]![m]! += scaled * row[m]!
      }
    }
    const factor = cholesky(small, 1e-300)
    const newton = (right: Float64Array): Float64Array => {
      const scaled = right.map((value, i) => value / diagonal[i]!)
      const inner = choleskySolve(factor, products(v, scaled, size))
      return scaled.map((value, i) => value - dot(v[i]!, inner) / diagonal[i]!)
    }

    // Mehrotra: a step to the very solution shows how far to aim, and corrects the next for curvature.
    const mu = gap / (2 * n)
    const toEnd = newton(Float64Array.from(residual, (r, i) => -r - low[i]! + high[i]!))
    const lowEnd = toEnd.map((s, i) => -low[i]! - (low[i]! / a[i]!) * s)
    const highEnd = toEnd.map((s, i) => -high[i]! + (high[i]! / room[i]!) * s)
    const reach = Math.min(longest(a, toEnd), longest(low, lowEnd), longest(high, highEnd), longest(room, toEnd, -1))
    let after = 0
    for (let i = 0; i < n; i++) {
      after += (low[i]! + reach * lowEnd[i]!) * (a[i]! + reach * toEnd[i]!)
      after += (high[i]! + reach * highEnd[i]!) * (room[i]! - reach * toEnd[i]!)
    }
    const aim = mu * (after / gap) ** 3
    const lowTerm = toEnd.map((s, i) => (aim - s * lowEnd[i]!) / a[i]! - low[i]!)
    const highTerm = toEnd.map((s, i) => (aim + s * highEnd[i]!) / room[i]! - high[i]!)
    const move = newton(Float64Array.from(residual, (r, i) => -r + lowTerm[i]! - highTerm[i]!))
    const lowMove = move.map((s, i) => lowTerm[i]! - (low[i]! / a[i]!) * s)
    const highMove = move.map((s, i) => highTerm[i]! + (high[i]! / room[i]!) * s)
    const most = Math.min(longest(a, move), longest(low, lowMove), longest(high, highMove), longest(room, move, -1))
    const rate = Math.min(1, 0.995 * most)
    if (!(rate > 1e-12)) break
    for (let i = 0; i < n; i++) {
      a[i]! += rate * move[i]!
      room[i]! -= rate * move[i]!
      low[i]! += rate * lowMove[i]!
      high[i]! += rate * highMove[i]!
    }
    w = products(v, a, size)
  }
  if (!(best.primal - dual <= MOST_GAP * (1 + dual)))
    throw new InputError('the linear SVM did not converge; use a smaller C')
  return best.w
}

/** V^T a. */
function products(v: readonly Float64Array[], a: Float64Array, size: number): Float64Array {
  const w = new Float64Array(size)
  for (let i = 0; i < v.length; i++) for (let k = 0; k < size; k++) w[k]! += a[i]! * v[i]![k]!
  return w
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0
  for (let k = 0; k < a.length; k++) sum += a[k]! * b[k]!
  return sum
}

/** How far values > 0 may go along a step, 1 at most, until the first is 0. */
function longest(values: Float64Array, step: Float64Array, sign = 1): number {
  let most = 1
  for (let i = 0; i < values.length; i++) {
    const s = sign * step[i]!
    if (s < 0) most = Math.min(most, -values[i]! / s)
  }
  return most
}
