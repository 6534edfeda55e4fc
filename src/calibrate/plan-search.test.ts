import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Plan } from '../depth/plan.js'
import { balancedPlan } from '../depth/unified.js'
import { createRandomStream } from '../engine/schedule/random-stream.js'
import { searchPlan } from './plan-search.js'

/** A loss of layers that each have a worth, and of pairs that are worth more or less together. */
function lossOf(layers: number, seed: number): (plan: Plan) => number {
  const random = createRandomStream(seed)
  const worth = Array.from({ length: layers }, () => random())
  const pairs = Array.from({ length: layers }, () => Array.from({ length: layers }, () => random() * 0.2 - 0.1))
  return (plan) => {
    let loss = 10
    for (const a of plan) {
      loss -= worth[a] as number
      for (const b of plan) if (b > a) loss -= pairs[a]?.[b] as number
    }
    return loss
  }
}

function everyPlan(layers: number, kept: number): Plan[] {
  const all: number[][] = []
  for (let mask = 0; mask < 2 ** (layers - 2); mask++) {
    const between = Array.from({ length: layers - 2 }, (_, i) => i + 1).filter((l) => (mask >> (l - 1)) & 1)
    if (between.length === kept - 2) all.push([0, ...between, layers - 1])
  }
  return all
}

describe('a search for layers', () => {
  it('tries every set where there are few', async () => {
    for (const [layers, kept] of [
      [6, 3],
      [8, 4],
      [8, 7],
      [5, 5],
      [9, 2],
    ] as const) {
      const loss = lossOf(layers, layers * 10 + kept)
      const seen: string[] = []
      const found = await searchPlan({ layers, balanced: balancedPlan(layers, kept) }, async (plan, part) => {
        seen.push(`${part} ${plan.join()}`)
        return loss(plan)
      })
      const best = Math.min(...everyPlan(layers, kept).map(loss))
      expect(found).toMatchObject({ exhaustive: true, loss: best })
      expect(new Set(seen).size).toBe(seen.length)
    }
  })

  it('is never worse than the balanced set, keeps its size and both ends, and mostly finds the best', async () => {
    let best = 0
    let runs = 0
    await fc.assert(
      fc.asyncProperty(fc.nat(10_000), fc.integer({ min: 5, max: 10 }), async (seed, kept) => {
        const layers = 13
        const loss = lossOf(layers, seed)
        const balanced = balancedPlan(layers, kept)
        const left: number[] = []
        const found = await searchPlan(
          { layers, balanced, onProgress: (_, more) => left.push(more) },
          // Screening is not exact.
          async (plan, part) => loss(plan) + (part === 'screen' ? 0.02 * Math.sin(plan.join().length + seed) : 0),
        )
        expect(found.loss).toBeLessThanOrEqual(loss(balanced))
        expect(found.loss).toBe(loss(found.plan))
        expect(found.balancedLoss).toBe(loss(balanced))
        expect(found.plan).toHaveLength(kept)
        expect([found.plan[0], found.plan.at(-1)]).toEqual([0, layers - 1])
        expect(left.every((more) => more >= 0)).toBe(true)
        runs++
        if (found.loss <= Math.min(...everyPlan(layers, kept).map(loss)) + 1e-9) best++
      }),
      { numRuns: 40 },
    )
    expect(best / runs).toBeGreaterThan(0.8)
  })

  it('gives the balanced set back where none is better', async () => {
    const balanced = balancedPlan(14, 7)
    const found = await searchPlan(
      { layers: 14, balanced },
      async (plan) => plan.filter((layer) => !balanced.includes(layer)).length,
    )
    expect(found.plan).toEqual(balanced)
    expect((await searchPlan({ layers: 14, balanced }, async () => 1)).plan).toEqual(balanced)
  })
})
