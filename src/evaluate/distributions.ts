/**
 * Quantile of Student's t distribution.
 * @param p in (0, 1)
 * @param degrees of freedom, a whole number
 */
export function studentQuantile(p: number, degrees: number): number {
  return quantileOf((t) => studentCdf(t, degrees), p)
}

/** Quantile of the standard normal distribution, for p in (0, 1). */
export function normalQuantile(p: number): number {
  return quantileOf(normalCdf, p)
}

/** P(T <= t), a finite sum (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4). */
function studentCdf(t: number, degrees: number): number {
  const angle = Math.atan(t / Math.sqrt(degrees))
  const isOdd = degrees % 2 === 1
  let term = isOdd ? Math.cos(angle) : 1
  let sum = degrees === 1 ? 0 : term
  for (let k = isOdd ? 3 : 2; k <= degrees - 2; k += 2) {
    term *= ((k - 1) / k) * Math.cos(angle) ** 2
    sum += term
  }
  const within = isOdd ? (2 / Math.PI) * (angle + Math.sin(angle) * sum) : Math.sin(angle) * sum
  return (1 + within) / 2
}

/** Within 1e-15 of the standard normal distribution function: a series where it is short, and nothing beyond 8 deviations. */
export function normalCdf(x: number): number {
  if (Math.abs(x) > 8) return x > 0 ? 1 : 0
  let term = x
  let sum = x
  for (let k = 3; Math.abs(term) > 1e-17 * Math.abs(sum); k += 2) {
    term *= (x * x) / k
    sum += term
  }
  return 0.5 + (sum * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI)
}

/** By bisection; the distribution is symmetric. */
function quantileOf(cdf: (x: number) => number, p: number): number {
  if (p < 0.5) return -quantileOf(cdf, 1 - p)
  let [low, high] = [0, 1]
  while (cdf(high) < p) high *= 2
  for (let step = 0; step < 60; step++) {
    const middle = (low + high) / 2
    if (cdf(middle) < p) low = middle
    else high = middle
  }
  return high
}
