/** The largest absolute difference of two lists of the same length. NaN anywhere, or other lengths: Infinity. */
export function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY
  let largest = 0
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs((a[i] as number) - (b[i] as number))
    if (!(difference <= largest)) largest = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference
  }
  return largest
}

/** Row i of a row-major matrix. */
export function rowOf<T extends Float32Array | Float64Array>(matrix: T, i: number, width: number): T {
  return matrix.subarray(i * width, (i + 1) * width) as T
}
