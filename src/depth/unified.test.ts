import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { gapsOf } from './plan.js'
import { parseDepth } from './spec.js'
import { balancedPlan, keptLayers, referencePlan } from './unified.js'

const targets = fc.oneof(
  fc.double({ min: 1, max: 120, noNaN: true }),
  fc.constantFrom(1, 1.1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 10),
)
const layerCounts = fc.integer({ min: 1, max: 100 })

describe('balanced', () => {
  it('keeps first and last, and no two gaps differ by more than one layer', () => {
    fc.assert(
      fc.property(layerCounts, targets, (layers, target) => {
        const plan = balancedPlan(layers, target)
        expect(plan).toHaveLength(keptLayers(layers, target))
        expect(plan[0]).toBe(0)
        expect(plan.at(-1)).toBe(layers - 1)
        const gaps = gapsOf(plan)
        expect(gaps.every((gap) => gap >= 1)).toBe(true)
        if (gaps.length > 0) expect(Math.max(...gaps) - Math.min(...gaps)).toBeLessThanOrEqual(1)
      }),
      { numRuns: 2000 },
    )
  })

  it('holds for every whole number of kept layers of 1 to 100 layers', () => {
    for (let layers = 1; layers <= 100; layers++) {
      for (let n = 1; n <= layers; n++) {
        const plan = balancedPlan(layers, layers / n)
        expect(plan).toHaveLength(Math.min(layers, Math.max(2, n)))
        const gaps = gapsOf(plan)
        if (gaps.length > 0) expect(Math.max(...gaps) - Math.min(...gaps)).toBeLessThanOrEqual(1)
      }
    }
  })

  it('keeps floor(L / s + 1e-9) layers, at least 2, all of them at 1x', () => {
    expect(keptLayers(33, 1.1)).toBe(30)
    expect(keptLayers(16, 2)).toBe(8)
    expect(keptLayers(22, 1.5)).toBe(14)
    expect(keptLayers(16, 100)).toBe(2)
    expect(keptLayers(2, 5)).toBe(2)
    expect(keptLayers(1, 5)).toBe(1)
    for (const layers of [1, 2, 5, 16, 22, 32]) expect(balancedPlan(layers, 1)).toHaveLength(layers)
  })

  it('spaces 16 layers evenly', () => {
    expect(balancedPlan(16, 2)).toEqual([0, 2, 4, 6, 9, 11, 13, 15])
    expect(balancedPlan(16, 4)).toEqual([0, 5, 10, 15])
    expect(balancedPlan(16, 8)).toEqual([0, 15])
  })
})

describe('reference', () => {
  const upTo = (last: number, step: number) => Array.from({ length: last / step + 1 }, (_, i) => i * step)

  it.each([
    [30, 2, [...upTo(26, 2), 29]],
    [30, 3, [...upTo(24, 3), 29]],
    [30, 5, [0, 6, 12, 18, 24, 29]],
    [30, 10, [0, 15, 29]],
    [32, 3, [...upTo(24, 3), 31]],
    [24, 5, [0, 8, 16, 23]],
  ])('keeps of %i layers at %ix what the published code keeps', (layers, target, plan) => {
    expect(referencePlan(layers, target)).toEqual(plan)
  })

  it('between 1x and 2x keeps the bottom n - 1 layers and the last', () => {
    expect(referencePlan(16, 1.5)).toEqual([...upTo(8, 1), 15])
    expect(referencePlan(30, 1.25)).toEqual([...upTo(22, 1), 29])
    fc.assert(
      fc.property(fc.integer({ min: 4, max: 100 }), fc.double({ min: 1, max: 1.99, noNaN: true }), (layers, target) => {
        const n = Math.trunc(layers / target)
        fc.pre(Math.trunc(layers / (n - 1)) === 1)
        expect(referencePlan(layers, target)).toEqual([...upTo(n - 2, 1), layers - 1])
      }),
    )
  })

  it.each([
    [12, 8],
    [16, 10],
    [30, 16],
    [1, 1],
  ])('has no plan for %i layers at %ix, where n <= 1', (layers, target) => {
    expect(referencePlan(layers, target)).toBeNull()
    expect(() => parseDepth(`unified:${target}x,rule=reference`, { layers })).toThrow(/needs 2; use rule=balanced/)
  })

  it('keeps int(L / s) layers, the first and the last among them', () => {
    fc.assert(
      fc.property(layerCounts, targets, (layers, target) => {
        const plan = referencePlan(layers, target)
        const n = Math.trunc(layers / target)
        if (n <= 1) expect(plan).toBeNull()
        else {
          expect(plan).toHaveLength(n)
          expect(plan?.[0]).toBe(0)
          expect(plan?.at(-1)).toBe(layers - 1)
          expect(gapsOf(plan!).every((gap) => gap >= 1)).toBe(true)
        }
      }),
      { numRuns: 1000 },
    )
  })

  it('notes the hole that it leaves', () => {
    const notes = (layers: number, target: number) => parseDepth(`unified:${target}x,rule=reference`, { layers }).notes
    expect(notes(32, 3)).toEqual([
      'rule=reference leaves out layers 25 to 30 in one piece; rule=balanced spaces the layers evenly',
    ])
    expect(notes(16, 1.5)?.[0]).toContain('layers 9 to 14')
    expect(notes(30, 2)).toEqual([])
    expect(notes(30, 1)).toEqual([])
    expect(parseDepth('unified:3x', { layers: 32 }).notes).toEqual([])
  })
})
