/** What stands at a place of an axis, and from where to where it reaches across the axis. In pixels. */
export interface Standing {
  readonly place: number
  readonly low: number
  readonly high: number
}

/**
 * Places at which things that would cover each other stand side by side, `gap` pixels apart at least: in their order, with
 * the least sum of squared moves. Things do not move for what reaches across the axis at other heights.
 */
export function dodge(things: readonly Standing[], gap: number): number[] {
  const places = things.map(({ place }) => place)
  for (const group of atOneHeight(things)) {
    const sorted = group.sort((a, b) => places[a]! - places[b]! || a - b)
    const moved = spread(
      sorted.map((i) => places[i]!),
      gap,
    )
    sorted.forEach((i, k) => {
      places[i] = moved[k]!
    })
  }
  return places
}

/** Groups of indices whose heights overlap directly or through others. */
function atOneHeight(things: readonly Standing[]): number[][] {
  const groups: number[][] = []
  let top = -Infinity
  for (const i of things.map((_, index) => index).sort((a, b) => things[a]!.low - things[b]!.low)) {
    const { low, high } = things[i]!
    if (low > top) groups.push([])
    groups[groups.length - 1]!.push(i)
    top = Math.max(top, high)
  }
  return groups
}

/** Rising places at least `gap` apart with the least sum of squared moves: pooling of adjacent violators. */
function spread(places: readonly number[], gap: number): number[] {
  const pools: { sum: number; count: number }[] = []
  places.forEach((place, i) => {
    let { sum, count } = { sum: place - i * gap, count: 1 }
    for (let last = pools.at(-1); last !== undefined && last.sum / last.count > sum / count; last = pools.at(-1)) {
      sum += last.sum
      count += last.count
      pools.pop()
    }
    pools.push({ sum, count })
  })
  return pools
    .flatMap(({ sum, count }) => Array.from({ length: count }, () => sum / count))
    .map((base, i) => base + i * gap)
}
