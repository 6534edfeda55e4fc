/** Stirling's error log(n!) - log(sqrt(2 pi n) (n / e)^n) for n = 0 .. 15, from exact factorials. */
const SMALL = Array.from({ length: 16 }, (_, n) => {
  let factorial = 1
  for (let k = 2; k <= n; k++) factorial *= k
  return n === 0 ? 0 : Math.log(factorial) - 0.5 * Math.log(2 * Math.PI * n) - n * Math.log(n) + n
})

function stirlingError(n: number): number {
  if (n < 16) return SMALL[n]!
  const s = 1 / (n * n)
  return (1 / 12 - (1 / 360 - (1 / 1260 - (1 / 1680) * s) * s) * s) / n
}

/** x log(x / m) + m - x without cancellation where x is near m. */
function deviance(x: number, m: number): number {
  const d = (x - m) / (x + m)
  if (Math.abs(d) >= 0.1) return x * Math.log(x / m) + m - x
  let sum = (x - m) * d
  let term = 2 * x * d
  for (let k = 1; k < 1000; k++) {
    term *= d * d
    const next = sum + term / (2 * k + 1)
    if (next === sum) break
    sum = next
  }
  return sum
}

/**
 * P(X = k) of X ~ Binomial(n, p), to nearly full precision for any n (Loader 2000, "Fast and accurate computation of
 * binomial probabilities"): the large parts of the factorials cancel on paper and not in floating point.
 */
export function binomialPmf(k: number, n: number, p: number): number {
  if (k < 0 || k > n) return 0
  if (p <= 0) return k === 0 ? 1 : 0
  if (p >= 1) return k === n ? 1 : 0
  if (k === 0) return Math.exp(n * Math.log1p(-p))
  if (k === n) return Math.exp(n * Math.log(p))
  const exponent =
    stirlingError(n) - stirlingError(k) - stirlingError(n - k) - deviance(k, n * p) - deviance(n - k, n * (1 - p))
  return Math.exp(exponent) * Math.sqrt(n / (2 * Math.PI * k * (n - k)))
}

/** P(X <= k) of X ~ Binomial(n, p), summed from its largest term away from the mean. */
export function binomialCdf(k: number, n: number, p: number): number {
  if (k < 0) return 0
  if (k >= n) return 1
  if (p <= 0) return 1
  if (p >= 1) return 0
  const odds = p / (1 - p)
  if (k < n * p) {
    let term = binomialPmf(k, n, p)
    let sum = 0
    for (let i = k; i >= 0 && term > sum * 1e-18; i--) {
      sum += term
      term *= i / ((n - i + 1) * odds)
    }
    return Math.min(sum, 1)
  }
  let term = binomialPmf(k + 1, n, p)
  let sum = 0
  for (let i = k + 1; i <= n && term > sum * 1e-18; i++) {
    sum += term
    term *= ((n - i) * odds) / (i + 1)
  }
  return Math.max(0, 1 - sum)
}
