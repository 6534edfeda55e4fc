import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createTopTwo, features, sumExp, topTwo } from './features.js'

const row = (...values: number[]) => Float32Array.from(values)

/** The definition, sorted out slowly: largest first, lower index first among equals. */
function byDefinition(values: Float32Array): number[] {
  return [...values.keys()].filter((i) => !Number.isNaN(values[i]!)).sort((a, b) => values[b]! - values[a]! || a - b)
}

describe('topTwo', () => {
  it('finds the two largest of any row, the lower index winning ties', () => {
    const value = fc.oneof(
      fc.float({ min: -20, max: 20, noNaN: true }),
      fc.constantFrom(0, 1, 1, 2, Number.NaN, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY),
    )
    fc.assert(
      fc.property(fc.array(value, { maxLength: 40 }), (array) => {
        // Infinity minus itself is NaN, which sorts nothing: as large as the order needs.
        const values = Float32Array.from(array)
        const finite = values.map((v) =>
          v === Number.POSITIVE_INFINITY ? 100 : v === Number.NEGATIVE_INFINITY ? -100 : v,
        )
        const [top = -1, second = -1] = byDefinition(finite)
        expect(topTwo(values, createTopTwo())).toMatchObject({ top, second })
      }),
    )
  })

  it('reads only the part between start and end and counts from start', () => {
    const values = row(9, 9, 1, 5, 3, 4, 2, 0, 9)
    expect(topTwo(values, createTopTwo(), 2, 8)).toEqual({ top: 1, second: 3, topValue: 5, secondValue: 4 })
  })

  it('has -1 where there is nothing', () => {
    expect(topTwo(row(), createTopTwo())).toMatchObject({ top: -1, second: -1 })
    expect(topTwo(row(3), createTopTwo())).toMatchObject({ top: 0, second: -1 })
    expect(topTwo(row(Number.NaN, Number.NaN), createTopTwo())).toMatchObject({ top: -1, second: -1 })
    expect(topTwo(row(0, Number.NEGATIVE_INFINITY), createTopTwo())).toMatchObject({ top: 0, second: 1 })
  })
})

describe('sumExp', () => {
  it('is the sum of exponentials within 3e-9, and at least 1', () => {
    fc.assert(
      fc.property(
        fc.array(fc.float({ min: -200, max: 200, noNaN: true }), { minLength: 1, maxLength: 50 }),
        (array) => {
          const values = Float32Array.from(array)
          const max = Math.max(...values)
          const exact = values.reduce((sum, v) => sum + Math.exp(v - max), 0)
          const sum = sumExp(values, max)
          expect(sum).toBeGreaterThanOrEqual(1)
          expect(Math.abs(sum / exact - 1)).toBeLessThan(3e-9)
        },
      ),
    )
  })

  it('counts values that were ruled out as nothing and lets NaN through', () => {
    expect(sumExp(row(1, Number.NEGATIVE_INFINITY, -1e30), 1)).toBe(1)
    expect(sumExp(row(1, Number.NaN), 1)).toBeNaN()
  })
})

describe('features', () => {
  it('gap = P(top1) - P(top2), topProb = P(top1), entropy in nats', () => {
    const p = [0.5, 0.3, 0.2]
    const f = features(Float32Array.from(p, (x) => Math.log(x) + 7))
    expect(f.top).toBe(0)
    expect(f.second).toBe(1)
    expect(f.topProb).toBeCloseTo(0.5, 6)
    expect(f.gap).toBeCloseTo(0.2, 6)
    expect(f.entropy).toBeCloseTo(-p.reduce((sum, x) => sum + x * Math.log(x), 0), 6)
  })

  it('is safe for logits of any size', () => {
    expect(features(row(1e38, 1e38))).toMatchObject({ top: 0, second: 1, topProb: 0.5, gap: 0 })
    expect(features(row(-1e38, 1e38))).toMatchObject({ top: 1, second: 0, topProb: 1, gap: 1, entropy: 0 })
    expect(features(row(4))).toMatchObject({ top: 0, second: -1, topProb: 1, gap: 1, entropy: 0 })
    expect(features(row(2, Number.NEGATIVE_INFINITY))).toMatchObject({ gap: 1, entropy: 0 })
  })

  it('never lets NaN exceed a threshold', () => {
    for (const logits of [row(1, Number.NaN, 9), row(Number.NaN), row(Number.POSITIVE_INFINITY, 1)]) {
      expect(features(logits).gap > 0).toBe(false)
    }
  })

  it('keeps gap and topProb within 0 and 1 and the entropy within 0 and ln V', () => {
    fc.assert(
      fc.property(fc.array(fc.float({ min: -50, max: 50, noNaN: true }), { minLength: 1, maxLength: 30 }), (array) => {
        const f = features(Float32Array.from(array))
        expect(f.gap).toBeGreaterThanOrEqual(0)
        expect(f.gap).toBeLessThanOrEqual(f.topProb)
        expect(f.topProb).toBeLessThanOrEqual(1)
        expect(f.entropy).toBeGreaterThanOrEqual(0)
        expect(f.entropy).toBeLessThanOrEqual(Math.log(array.length) + 1e-9)
      }),
    )
  })
})
