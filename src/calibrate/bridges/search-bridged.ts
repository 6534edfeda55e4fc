import { planGaps } from '../../depth/bridge.js'
import type { Plan } from '../../depth/plan.js'
import { cheapestPlans, neighbours, type PricedPlan, priceOf } from './cheapest-gaps.js'
import type { GapPrices } from './gap-prices.js'

/** Plans by price whose loss is measured, and how many of each number of gaps at least. */
const MEASURED = 12
const OF_EACH = 2
/** Plans around the best one that are measured in a round, and rounds at most. */
const TRIED_AROUND = 8
const ROUNDS = 5

export interface BridgedSearchOptions {
  readonly layers: number
  /** Layers that a plan with so many bridges may keep; null where no such plan meets the target. */
  readonly kept: (gaps: number) => number | null
  /** Plans that are measured beside those of the programme, where they meet the target. */
  readonly others: readonly Plan[]
  /** Gaps of a plan at most. */
  readonly mostGaps: number
  /** @param tried plans so far @param left that may still come */
  readonly onProgress?: (tried: number, left: number) => void
}

export interface FoundBridged {
  readonly plan: Plan
  /** Nats per token where the search looked. */
  readonly loss: number
  /** Of the plan that was cheapest by price alone, before loss was looked at. */
  readonly cheapest: { readonly plan: Plan; readonly loss: number }
  readonly tried: number
}

/**
 * A plan for its bridges: the cheapest sets of gaps by what linear maps leave unexplained, of them the one with the least measured loss, and
 * from there the best exchange of one layer after the other while one helps. Null where no plan meets the target.
 */
export async function searchBridged(
  prices: GapPrices,
  loss: (plan: Plan) => Promise<number>,
  options: BridgedSearchOptions,
): Promise<FoundBridged | null> {
  const { layers, kept, others, onProgress } = options
  const fits = (plan: Plan): boolean => plan.length <= (kept(planGaps(plan, layers).length) ?? 0)
  const priced = candidates(prices, options)
  const start = unique([...priced.map(({ plan }) => plan), ...others]).filter(fits)
  const seen = new Map<string, { plan: Plan; loss: number }>()
  let left = start.length + ROUNDS * TRIED_AROUND
  const measure = async (plan: Plan): Promise<void> => {
    if (seen.has(plan.join())) return
    seen.set(plan.join(), { plan, loss: await loss(plan) })
    left--
    onProgress?.(seen.size, Math.max(0, left))
  }
  for (const plan of start) await measure(plan)
  const best = (): { plan: Plan; loss: number } | null =>
    [...seen.values()].reduce<{ plan: Plan; loss: number } | null>(
      (least, one) => (least === null || one.loss < least.loss ? one : least),
      null,
    )
  let current = best()
  if (current === null) return null
  const cheapest = seen.get(priced[0]?.plan.join() ?? '') ?? current
  for (let round = 0; round < ROUNDS; round++) {
    left = (ROUNDS - round) * TRIED_AROUND
    const around = neighbours(current.plan, layers)
      .filter((plan) => fits(plan) && !seen.has(plan.join()))
      .map((plan) => ({ plan, price: priceOf(prices, plan, layers) }))
      .filter(({ price }) => Number.isFinite(price))
      .sort((a, b) => a.price - b.price)
      .slice(0, TRIED_AROUND)
    for (const { plan } of around) await measure(plan)
    const next = best() as { plan: Plan; loss: number }
    if (next.loss >= current.loss) break
    current = next
  }
  return { plan: current.plan, loss: current.loss, cheapest, tried: seen.size }
}

/** The cheapest plans of every number of gaps, and of all together. */
function candidates(prices: GapPrices, { layers, kept, mostGaps }: BridgedSearchOptions): PricedPlan[] {
  const some: PricedPlan[] = []
  const more: PricedPlan[] = []
  for (let gaps = 1; gaps <= mostGaps; gaps++) {
    const count = kept(gaps)
    if (count === null || count >= layers) continue
    const plans = cheapestPlans(prices, layers, layers - count, gaps, MEASURED)
    some.push(...plans.slice(0, OF_EACH))
    more.push(...plans.slice(OF_EACH))
  }
  const byPrice = (a: PricedPlan, b: PricedPlan): number => a.price - b.price
  const rest = more.sort(byPrice).slice(0, Math.max(0, MEASURED - some.length))
  return [...some, ...rest].sort(byPrice)
}

function unique(plans: readonly Plan[]): Plan[] {
  return [...new Map(plans.map((plan) => [plan.join(), plan])).values()]
}
