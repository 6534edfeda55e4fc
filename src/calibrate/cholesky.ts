/**
 * Lower triangle of the Cholesky factor of a symmetric positive definite matrix, of which the lower triangle is read. A
 * pivot that rounding has made too small is raised to `least`.
 */
export function cholesky(a: readonly Float64Array[], least = 1e-12): Float64Array[] {
  const l = a.map((row) => Float64Array.from(row))
  for (let i = 0; i < a.length; i++) {
    const row = l[i]!
    for (let j = 0; j <= i; j++) {
      const other = l[j]!
      let sum = a[i]![j]!
      for (let k = 0; k < j; k++) sum -= row[k]! * other[k]!
      row[j] = i === j ? Math.sqrt(Math.max(sum, least)) : sum / other[j]!
    }
  }
  return l
}

/** x of L L^T x = b. */
export function choleskySolve(l: readonly Float64Array[], b: Float64Array): Float64Array {
  const n = b.length
  const x = Float64Array.from(b)
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) x[i]! -= l[i]![k]! * x[k]!
    x[i]! /= l[i]![i]!
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) x[i]! -= l[k]![i]! * x[k]!
    x[i]! /= l[i]![i]!
  }
  return x
}

/** X of L L^T X = B, in the place of B, whose rows are those of the unknowns: all columns at once. */
export function choleskySolveAll(l: readonly Float64Array[], b: readonly Float64Array[]): void {
  const n = b.length
  const subtract = (to: Float64Array, from: Float64Array, factor: number): void => {
    for (let j = 0; j < to.length; j++) to[j] = to[j]! - factor * from[j]!
  }
  const divide = (row: Float64Array, divisor: number): void => {
    for (let j = 0; j < row.length; j++) row[j] = row[j]! / divisor
  }
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) subtract(b[i]!, b[k]!, l[i]![k]!)
    divide(b[i]!, l[i]![i]!)
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) subtract(b[i]!, b[k]!, l[k]![i]!)
    divide(b[i]!, l[i]![i]!)
  }
}
