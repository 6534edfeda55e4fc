import { describe, expect, it } from 'vitest'
import { quantile } from '../calibrate/quantile.js'
import { createRandomStream } from '../engine/schedule/random-stream.js'
import { bootstrapMean, bootstrapSums, medianInterval, pairedBootstrap, ratioBootstrap } from './bootstrap.js'
import { normalCdf, normalQuantile, studentQuantile } from './distributions.js'

describe('bootstrap', () => {
  it('of a share is about its normal interval', () => {
    const values = Array.from({ length: 400 }, (_, i) => (i < 300 ? 1 : 0))
    const { mean, low, high } = bootstrapMean(values)
    const deviation = Math.sqrt((0.75 * 0.25) / 400)
    expect(mean).toBe(0.75)
    expect(low).toBeCloseTo(0.75 - 1.96 * deviation, 2)
    expect(high).toBeCloseTo(0.75 + 1.96 * deviation, 2)
    expect(bootstrapMean(values, { confidence: 0.5 }).low).toBeGreaterThan(low)
  })

  it('is the same for the same seed', () => {
    const values = Array.from({ length: 40 }, (_, i) => Math.sqrt(i))
    expect(bootstrapMean(values, { seed: 4 })).toEqual(bootstrapMean(values, { seed: 4 }))
    expect(bootstrapMean(values, { seed: 4 })).not.toEqual(bootstrapMean(values, { seed: 5, draws: 50 }))
    expect(bootstrapMean([3, 3, 3])).toEqual({ mean: 3, low: 3, high: 3, n: 3 })
  })

  it('covers the mean about as often as it says', () => {
    const random = createRandomStream(11)
    let covered = 0
    for (let run = 0; run < 300; run++) {
      const sample = Array.from({ length: 60 }, () => random())
      const { low, high } = bootstrapMean(sample, { draws: 300, seed: run })
      if (low <= 0.5 && 0.5 <= high) covered++
    }
    expect(covered / 300).toBeGreaterThan(0.9)
    expect(covered / 300).toBeLessThan(0.985)
  })

  it('of few values is Student’s, and covers the mean as often as it says', () => {
    expect(bootstrapMean([1, 2, 3, 4, 5])).toMatchObject({ mean: 3, n: 5 })
    // 3 -+ 2.776 sqrt(2.5 / 5)
    expect(bootstrapMean([1, 2, 3, 4, 5]).high).toBeCloseTo(3 + 2.776445 * Math.sqrt(0.5), 5)
    expect(coverage((sample, seed) => bootstrapMean(sample, { seed, draws: 400 }), 5)).toBeGreaterThan(0.935)
    expect(bootstrapMean([0, 1, 1, 1], { range: [0, 1] }).high).toBe(1)
    expect(bootstrapMean([7])).toEqual({ mean: 7, low: Number.NaN, high: Number.NaN, n: 1 })
  })

  it('of few units is BCa for figures of sums', () => {
    const random = createRandomStream(3)
    const skewed = Array.from({ length: 20 }, () => [-Math.log(1 - random()), 1])
    const mean = ([sum, n]: readonly number[]) => sum! / n!
    const { mean: own, low, high, n } = bootstrapSums(skewed, mean, { draws: 4000 })
    expect(n).toBe(20)
    // A sample skewed to the right: the interval reaches further up than down.
    expect(high - own).toBeGreaterThan(1.1 * (own - low))
    expect(
      coverage(
        (sample, seed) =>
          bootstrapSums(
            sample.map((x) => [x, 1]),
            mean,
            { seed, draws: 400 },
          ),
        12,
      ),
    ).toBeGreaterThan(0.88)
    expect(
      bootstrapSums(
        [
          [2, 2],
          [3, 3],
        ],
        mean,
      ),
    ).toEqual({ mean: 1, low: 1, high: 1, n: 2 })
    expect(bootstrapSums([[2, 4]], mean)).toEqual({ mean: 0.5, low: Number.NaN, high: Number.NaN, n: 1 })
  })

  it('of a median is between order statistics, from six values on', () => {
    expect(medianInterval([5, 1, 4, 2, 3])).toEqual({ mean: 3, low: Number.NaN, high: Number.NaN, n: 5 })
    expect(medianInterval([6, 5, 1, 4, 2, 3])).toEqual({ mean: 3.5, low: 1, high: 6, n: 6 })
    // Of nine values the second and the eighth: 1 - 2 (1 + 9) / 512 is 96%.
    expect(medianInterval([9, 8, 7, 6, 5, 4, 3, 2, 1])).toEqual({ mean: 5, low: 2, high: 8, n: 9 })
  })

  it('has the quantiles of the tables', () => {
    const t = [12.7062, 4.30265, 3.18245, 2.77645, 2.57058]
    for (const [i, value] of t.entries()) expect(studentQuantile(0.975, i + 1)).toBeCloseTo(value, 4)
    expect(studentQuantile(0.975, 28)).toBeCloseTo(2.048407, 6)
    expect(studentQuantile(0.05, 9)).toBeCloseTo(-1.833113, 6)
    expect(normalQuantile(0.975)).toBeCloseTo(1.959964, 6)
    expect(normalCdf(-1.644854)).toBeCloseTo(0.05, 6)
  })

  it('of pairs is narrow where both sides share what varies', () => {
    const a = Array.from({ length: 200 }, (_, i) => Math.sin(i) * 10)
    const b = a.map((value) => value - 1)
    expect(pairedBootstrap(a, b).low).toBeCloseTo(1, 9)
    expect(pairedBootstrap(a, b).high).toBeCloseTo(1, 9)
    expect(() => pairedBootstrap([1], [1, 2])).toThrow(/as many values/)
    expect(() => bootstrapMean([])).toThrow(/no values/)
  })

  it('quantiles lie between neighbours', () => {
    expect([0, 0.25, 0.5, 1].map((q) => quantile([0, 10, 20], q))).toEqual([0, 5, 10, 20])
  })

  it('of a figure of sums is that of the mean where the figure is the mean, and of the ratio where it is that', () => {
    const values = Array.from({ length: 40 }, (_, i) => 1 + ((i * 7) % 11))
    const mean = bootstrapSums(
      values.map((value) => [value, 1]),
      ([sum, n]) => sum! / n!,
      { seed: 5 },
    )
    expect(mean).toEqual(bootstrapMean(values, { seed: 5 }))
    const doubled = values.map((value) => 2 * value)
    expect(ratioBootstrap(doubled, values)).toEqual({ mean: 2, low: 2, high: 2, n: 40 })
    expect(() => bootstrapSums([], () => 0)).toThrow(/no units/)
    expect(() => bootstrapSums([[1], [1, 2]], () => 0)).toThrow(/as many values/)
  })
})

/** How often the interval of so many normal values holds their mean. */
function coverage(interval: (sample: number[], seed: number) => { low: number; high: number }, size: number): number {
  const random = createRandomStream(17)
  let covered = 0
  for (let run = 0; run < 1000; run++) {
    const sample = Array.from({ length: size }, () => normalQuantile(random() * 0.999998 + 1e-6))
    const { low, high } = interval(sample, run)
    if (low <= 0 && 0 <= high) covered++
  }
  return covered / 1000
}
