import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type DynamicFile, planFor } from '../depth/dynamic-file.js'
import { fitDynamic } from './fit-dynamic.js'

const PLANS = [
  [0, 3],
  [0, 1, 3],
  [0, 1, 2, 3],
]
const passOf = (topProb: number) => ({ topProb, gap: 0.5, entropy: 1 })

function fileOf(fitted: ReturnType<typeof fitDynamic>): DynamicFile {
  const { feature, plans, thresholds, meanDepth } = fitted
  const model = { name: null, fingerprint: null, layers: 4 }
  return {
    format: 'shoal-policy',
    version: 1,
    kind: 'dynamic',
    created: '',
    model,
    feature,
    plans,
    thresholds,
    mean_depth: meanDepth,
  }
}

describe('thresholds for the depth of a sequence', () => {
  it('give the small plan to prompts after which the model is sure, where that costs nothing', () => {
    const passes = [0.9, 0.2, 0.8, 0.1].map(passOf)
    // Sure prompts lose nothing with two layers, the others everything.
    const losses = [
      [10, 90, 10, 90],
      [10, 40, 10, 40],
      [10, 10, 10, 10],
    ]
    const fitted = fitDynamic({ plans: PLANS, passes, losses, tokens: [10, 10, 10, 10] }, 3)
    expect(fitted).toMatchObject({ feature: 'top_prob', meanDepth: 3, loss: 1, thresholds: [0.5] })
    expect(fitted.plans).toEqual([PLANS[0], PLANS[2]])
    expect(passes.map((pass) => planFor(fileOf(fitted), pass).length)).toEqual([2, 4, 2, 4])
  })

  it('meet the mean, are read back as they were fitted, and are never worse than the best plan that meets it alone', () => {
    const text = fc.record({
      topProb: fc.constantFrom(0.1, 0.2, 0.3, 0.5, 0.8),
      gap: fc.double({ min: 0, max: 1, noNaN: true }),
      entropy: fc.double({ min: 0, max: 5, noNaN: true }),
      tokens: fc.integer({ min: 1, max: 9 }),
      losses: fc.tuple(fc.nat(100), fc.nat(100), fc.nat(100)),
    })
    fc.assert(
      fc.property(
        fc.array(text, { minLength: 1, maxLength: 12 }),
        fc.double({ min: 2, max: 4, noNaN: true }),
        (texts, depth) => {
          const tokens = texts.map((t) => t.tokens)
          const losses = [0, 1, 2].map((k) => texts.map((t) => t.losses[k] as number))
          const fitted = fitDynamic({ plans: PLANS, passes: texts, losses, tokens }, depth)
          expect(fitted.meanDepth).toBeLessThanOrEqual(depth + 1e-9)
          const file = fileOf(fitted)
          const total = tokens.reduce((a, b) => a + b)
          const chosen = texts.map((t) => PLANS.findIndex((plan) => plan.length === planFor(file, t).length))
          const loss = chosen.reduce((sum, k, i) => sum + (losses[k]?.[i] as number), 0) / total
          expect(loss).toBeCloseTo(fitted.loss, 9)
          PLANS.forEach((plan, k) => {
            if (plan.length > depth) return
            const alone = (losses[k] as number[]).reduce((a, b) => a + b) / total
            expect(fitted.loss).toBeLessThanOrEqual(alone + 1e-9)
          })
        },
      ),
      { numRuns: 300 },
    )
  })

  it('are refused where the smallest plan is too large', () => {
    const samples = { plans: [[0, 1, 3]], passes: [passOf(1)], losses: [[1]], tokens: [1] }
    expect(() => fitDynamic(samples, 2)).toThrow(/no plan has 2 layers/)
  })
})
