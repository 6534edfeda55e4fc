import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { randomPlan } from './random.js'

describe('random', () => {
  it('keeps as many layers as it is told, the first and the last among them', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 100 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.nat(),
        (l, at, seed) => {
          const kept = 2 + Math.floor(at * (l - 2))
          const plan = randomPlan(l, kept, seed)
          expect(plan).toHaveLength(kept)
          expect(new Set(plan).size).toBe(kept)
          expect([...plan].sort((a, b) => a - b)).toEqual(plan)
          expect([plan[0], plan.at(-1)]).toEqual([0, l - 1])
          expect(randomPlan(l, kept, seed)).toEqual(plan)
        },
      ),
    )
    expect(randomPlan(1, 1, 1)).toEqual([0])
    expect(randomPlan(2, 2, 1)).toEqual([0, 1])
  })

  it('is the same draw on every machine', () => {
    expect(randomPlan(16, 8, 1)).toEqual([0, 4, 5, 6, 7, 8, 11, 15])
    expect(randomPlan(16, 8, 2)).toEqual([0, 2, 5, 6, 11, 13, 14, 15])
  })

  it('draws every layer between alike', () => {
    const times = Array.from({ length: 16 }, () => 0)
    const draws = 2000
    for (let seed = 0; seed < draws; seed++) for (const layer of randomPlan(16, 8, seed)) times[layer]!++
    expect([times[0], times[15]]).toEqual([draws, draws])
    // 6 of 14: the counts' standard deviation is 22.
    for (const count of times.slice(1, 15)) expect(Math.abs(count - (draws * 6) / 14)).toBeLessThan(4 * 22.2)
  })
})
