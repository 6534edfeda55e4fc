/** At most `count` of the values, spread evenly over all of them: files are often sorted, by subject or by label. */
export function spread<T>(values: readonly T[], count: number): T[] {
  const n = Math.min(count, values.length)
  return Array.from({ length: n }, (_, i) => values[Math.floor(((i + 0.5) * values.length) / n)]!)
}
