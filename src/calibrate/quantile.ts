/** Quantile q of sorted values, interpolated between neighbours. */
export function quantile(sorted: ArrayLike<number>, q: number): number {
  const place = q * (sorted.length - 1)
  const below = Math.floor(place)
  const value = sorted[below]!
  return below + 1 < sorted.length ? value + (place - below) * (sorted[below + 1]! - value) : value
}

/** The middle value, or the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  return quantile(
    values.toSorted((a, b) => a - b),
    0.5,
  )
}

/**
 * The median of the rounds' ratios: what slows the machine down for a while slows both of a round, where medians of their own may
 * be of different rounds.
 * @param own per round, and `base` what it is held against in the same round
 */
export function medianRatio(own: readonly number[], base: readonly number[]): number {
  return median(own.map((value, round) => value / base[round]!))
}
