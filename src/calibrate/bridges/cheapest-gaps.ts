import { type Gap, planGaps } from '../../depth/bridge.js'
import { allLayers, type Plan } from '../../depth/plan.js'
import { type GapPrices, LONGEST_GAP } from './gap-prices.js'

/** A plan and what its gaps cost together. */
export interface PricedPlan {
  readonly plan: Plan
  readonly gaps: number
  readonly price: number
}

interface Partial {
  readonly gaps: readonly Gap[]
  readonly price: number
}

/**
 * The `most` cheapest plans that leave out `left` layers in exactly `gaps` gaps, by a dynamic programme over the layers from below. The first
 * and the last layer stay.
 */
export function cheapestPlans(
  prices: GapPrices,
  layers: number,
  left: number,
  gaps: number,
  most: number,
): PricedPlan[] {
  // best[layer][g][k]: the layer runs, g gaps and k left-out layers lie below it.
  const best: Partial[][][][] = Array.from({ length: layers }, () =>
    Array.from({ length: gaps + 1 }, () => Array.from({ length: left + 1 }, () => [])),
  )
  best[0]![0]![0] = [{ gaps: [], price: 0 }]
  for (let layer = 1; layer < layers; layer++) {
    for (let g = 0; g <= gaps; g++) {
      for (let k = 0; k <= left; k++) {
        const reached: Partial[] = [...best[layer - 1]![g]![k]!]
        for (let length = 1; g > 0 && length <= Math.min(LONGEST_GAP, k, layer - 1); length++) {
          const gap = { from: layer - length - 1, to: layer }
          const price = prices.of(gap)
          if (!Number.isFinite(price)) continue
          for (const below of best[gap.from]![g - 1]![k - length]!) {
            reached.push({ gaps: [...below.gaps, gap], price: below.price + price })
          }
        }
        best[layer]![g]![k] = reached.sort((a, b) => a.price - b.price).slice(0, most)
      }
    }
  }
  return best[layers - 1]![gaps]![left]!.map(({ gaps: chosen, price }) => ({
    plan: allLayers(layers).filter((l) => !chosen.some(({ from, to }) => l > from && l < to)),
    gaps,
    price,
  }))
}

/** What the gaps of a plan cost together; Infinity where one was not priced. */
export function priceOf(prices: GapPrices, plan: Plan, layers: number): number {
  return planGaps(plan, layers).reduce((sum, gap) => sum + prices.of(gap), 0)
}

/** Plans of as many layers that differ in one: a layer at the edge of a gap runs again, and another one is left out for it. */
export function neighbours(plan: Plan, layers: number): Plan[] {
  const kept = new Set(plan)
  const edges = allLayers(layers).filter((l) => !kept.has(l) && (kept.has(l - 1) || kept.has(l + 1)))
  const between = plan.filter((l) => l > 0 && l < layers - 1)
  return edges.flatMap((back) => between.map((out) => [...plan.filter((l) => l !== out), back].sort((a, b) => a - b)))
}
