import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { checkPlan } from './plan.js'
import type { SkipPolicy } from './policy.js'
import { descentSteps, upperPlan } from './skipdecode.js'
import { parseDepth } from './spec.js'

/** Plans of the tokens after the prompt's pass. */
function plansOf(spec: string, layers: number, maxTokens: number): (readonly number[])[] {
  const policy = parseDepth(spec, { layers }) as SkipPolicy
  const sequence = policy.startSequence?.({ layers, promptTokens: 3, maxTokens })
  return Array.from({ length: maxTokens - 1 }, (_, i) =>
    policy.plan({ position: 3 + i, generated: i + 1, layers }, sequence),
  )
}
const depthsOf = (spec: string, layers: number, maxTokens: number) =>
  plansOf(spec, layers, maxTokens).map((plan) => plan.length)
const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length

describe('the descent', () => {
  const descent = fc
    .tuple(fc.nat(60), fc.nat(60), fc.double({ min: 0, max: 1, noNaN: true }))
    .map(([min, levels, at]) => ({ min, max: min + levels, mean: min + at * levels }))

  it('never rises, stays within its bounds and meets the mean without exceeding it', () => {
    fc.assert(
      fc.property(descent, fc.integer({ min: 1, max: 600 }), ({ min, max, mean: wanted }, tokens) => {
        const steps = descentSteps({ min, max, mean: wanted }, tokens)
        expect(steps).toHaveLength(max - min)
        const depths = Array.from({ length: tokens }, (_, i) => min + steps.filter((n) => n > i).length)
        expect(depths).toEqual([...depths].sort((a, b) => b - a))
        expect(steps).toEqual([...steps].sort((a, b) => b - a))
        for (const n of steps) expect(n >= 0 && n <= tokens).toBe(true)
        const total = depths.reduce((a, b) => a + b, 0)
        expect(total).toBe(tokens * min + Math.floor(tokens * (wanted - min) + 1e-9))
      }),
      { numRuns: 1000 },
    )
  })

  it('is a straight line where the mean stands in the middle', () => {
    const steps = descentSteps({ min: 2, max: 14, mean: 8 }, 120)
    expect(steps).toEqual(Array.from({ length: 12 }, (_, k) => 115 - 10 * k))
  })

  it('costs nothing where a sequence may have very many tokens', () => {
    expect(descentSteps({ min: 2, max: 14, mean: 8 }, 2 ** 40)).toHaveLength(12)
  })
})

describe('its plans', () => {
  it('bypass lower and middle layers, keep the upper ones and the warm-up', () => {
    expect(upperPlan(16, 1, 16)).toHaveLength(16)
    expect(upperPlan(16, 1, 5)).toEqual([0, 12, 13, 14, 15])
    expect(upperPlan(16, 3, 5)).toEqual([0, 1, 2, 14, 15])
    expect(upperPlan(16, 0, 2)).toEqual([14, 15])
    expect(upperPlan(1, 0, 1)).toEqual([0])
  })

  it('16 layers at 2x fall from 14 to 2', () => {
    const depths = depthsOf('skipdecode:2x', 16, 121)
    expect(depths.at(0)).toBe(14)
    expect(depths.at(-1)).toBe(2)
    expect(mean(depths)).toBe(8)
  })

  it('at 1x run every layer', () => {
    expect(new Set(depthsOf('skipdecode:1x', 16, 20))).toEqual(new Set([16]))
    expect(depthsOf('skipdecode:1x', 1, 3)).toEqual([1, 1])
  })

  it('stay between min and max', () => {
    const depths = depthsOf('skipdecode:2x,min=6,max=16', 16, 101)
    expect(depths.at(0)).toBe(16)
    expect(depths.at(-1)).toBe(6)
    expect(mean(depths)).toBe(8)
    expect(Math.min(...depthsOf('skipdecode:2x,max=9', 16, 101))).toBe(7)
    expect(Math.max(...depthsOf('skipdecode:2x,min=7', 16, 101))).toBe(9)
  })

  it('meet the target, keep the warm-up and shrink, for every model and target', () => {
    const targets = fc.oneof(fc.double({ min: 1, max: 12, noNaN: true }), fc.constantFrom(1, 1.5, 2, 3, 5))
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 80 }),
        targets,
        fc.nat(5),
        fc.integer({ min: 2, max: 150 }),
        (layers, target, warmup, maxTokens) => {
          fc.pre(layers / target >= warmup + 1)
          const plans = plansOf(`skipdecode:${target}x,warmup=${warmup}`, layers, maxTokens)
          let before: readonly number[] | null = null
          for (const plan of plans) {
            checkPlan(plan, layers, 'plan')
            for (let layer = 0; layer < warmup; layer++) expect(plan).toContain(layer)
            expect(plan).toContain(layers - 1)
            if (before !== null) expect(before).toEqual(expect.arrayContaining([...plan]))
            before = plan
          }
          const depth = mean(plans.map((plan) => plan.length))
          expect(depth).toBeLessThanOrEqual(layers / target + 1e-6)
          expect(depth).toBeGreaterThan(layers / target - 1 / plans.length - 1e-6)
        },
      ),
      { numRuns: 300 },
    )
  })

  it('go on with the least beyond the tokens that were allowed', () => {
    const policy = parseDepth('skipdecode:2x', { layers: 16 }) as SkipPolicy
    const sequence = policy.startSequence?.({ layers: 16, promptTokens: 3, maxTokens: 1 })
    expect(policy.plan({ position: 9, generated: 9, layers: 16 }, sequence)).toHaveLength(2)
    expect(() => policy.plan({ position: 9, generated: 9, layers: 12 }, sequence)).toThrow(/16 layers/)
  })
})
