/**
 * How many n-grams two sequences have in common, for n = 1 .. orders: the sum over distinct n-grams of the smaller of
 * their two counts (the clipped counts of Papineni et al. 2002, section 2.1).
 */
export function ngramMatches(a: readonly string[], b: readonly string[], orders: number): number[] {
  const ids = new Map<string, number>()
  const unitsA = a.map((unit) => idOf(ids, unit))
  const unitsB = b.map((unit) => idOf(ids, unit))
  const matches = [commonCount(unitsA, unitsB, ids.size)]
  let gramsA = unitsA
  let gramsB = unitsB
  for (let n = 2; n <= orders; n++) {
    // An n-gram is the n-1-gram at its place and the unit that follows: two numbers, so one key.
    const longer = new Map<number, number>()
    const extend = (grams: readonly number[], units: readonly number[]): number[] =>
      grams.slice(0, -1).map((gram, i) => idOf(longer, gram * ids.size + units[i + n - 1]!))
    gramsA = extend(gramsA, unitsA)
    gramsB = extend(gramsB, unitsB)
    matches.push(commonCount(gramsA, gramsB, longer.size))
  }
  return matches
}

/** n-grams in a sequence of `length` units. */
export function ngramCount(length: number, n: number): number {
  return Math.max(0, length - n + 1)
}

function idOf<K>(ids: Map<K, number>, key: K): number {
  const known = ids.get(key)
  if (known !== undefined) return known
  ids.set(key, ids.size)
  return ids.size - 1
}

function commonCount(a: readonly number[], b: readonly number[], ids: number): number {
  const left = new Int32Array(ids)
  for (const id of b) left[id]!++
  let common = 0
  for (const id of a) if (left[id]!-- > 0) common++
  return common
}
