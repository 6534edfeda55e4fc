import fc from 'fast-check'
import { expect, it } from 'vitest'
import { planGaps } from '../../depth/bridge.js'
import { checkPlan, type Plan } from '../../depth/plan.js'
import { cheapestPlans, neighbours, priceOf } from './cheapest-gaps.js'
import { GapPrices, LONGEST_GAP } from './gap-prices.js'
import { searchBridged } from './search-bridged.js'

const LAYERS = 11

function pricesOf(seed: number): GapPrices {
  const all = []
  for (let from = 0; from < LAYERS; from++) {
    for (let to = from + 2; to < LAYERS && to - from - 1 <= LONGEST_GAP; to++) {
      all.push({ from, to, price: Math.abs(Math.sin(seed + from * 12.9 + to * 78.2) * 43758.5) % 1 })
    }
  }
  return new GapPrices(all)
}

/** Every set of layers with the first and the last. */
function everyPlan(): Plan[] {
  return Array.from({ length: 2 ** (LAYERS - 2) }, (_, bits) => [
    0,
    ...Array.from({ length: LAYERS - 2 }, (_, i) => i + 1).filter((_, i) => (bits >> i) & 1),
    LAYERS - 1,
  ])
}

it('the programme finds the cheapest plans of all', () => {
  const every = everyPlan()
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 1000 }),
      fc.integer({ min: 1, max: 7 }),
      fc.integer({ min: 1, max: 4 }),
      (seed, left, gaps) => {
        const prices = pricesOf(seed)
        const wanted = every
          .filter((plan) => plan.length === LAYERS - left && planGaps(plan, LAYERS).length === gaps)
          .map((plan) => priceOf(prices, plan, LAYERS))
          .filter(Number.isFinite)
          .sort((a, b) => a - b)
          .slice(0, 4)
        const found = cheapestPlans(prices, LAYERS, left, gaps, 4)
        expect(found.map(({ price }) => price)).toEqual(wanted.map((price) => expect.closeTo(price, 9)))
        for (const { plan, price } of found) expect(priceOf(prices, plan, LAYERS)).toBeCloseTo(price, 9)
      },
    ),
    { numRuns: 60 },
  )
})

it('neighbours have as many layers, differ in one, and keep the first and the last', () => {
  for (const plan of neighbours([0, 1, 2, 6, 8, 10], LAYERS)) {
    checkPlan(plan, LAYERS, 'neighbour')
    expect(plan).toHaveLength(6)
    expect(plan.filter((l) => ![0, 1, 2, 6, 8, 10].includes(l))).toHaveLength(1)
    expect([plan[0], plan.at(-1)]).toEqual([0, 10])
  }
})

it('a search finds what the loss says, and keeps to what bridges leave of a target', async () => {
  const best = [0, 1, 2, 3, 4, 8, 9, 10]
  const loss = async (plan: Plan): Promise<number> => best.filter((l) => !plan.includes(l)).length
  const base = { layers: LAYERS, others: [[0, 1, 3, 4, 6, 7, 9, 10]], mostGaps: 3 }
  const found = await searchBridged(pricesOf(1), loss, { ...base, kept: () => 8 })
  expect(found).toMatchObject({ plan: best, loss: 0 })
  const kept = (gaps: number): number | null => (gaps > 1 ? null : 8)
  const one = await searchBridged(pricesOf(1), loss, { ...base, kept })
  expect(planGaps(one?.plan ?? [], LAYERS)).toHaveLength(1)
  expect(await searchBridged(pricesOf(1), loss, { ...base, kept: () => null })).toBeNull()
})
