import { describe, expect, it } from 'vitest'
import { quantile } from '../calibrate/quantile.js'
import { createRandomStream } from '../engine/random-stream.js'
import { bootstrapMean, bootstrapSums, pairedBootstrap, ratioBootstrap } from './bootstrap.js'

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
    const values = [1, 2, 3, 5, 8]
    expect(bootstrapMean(values, { seed: 4 })).toEqual(bootstrapMean(values, { seed: 4 }))
    expect(bootstrapMean(values, { seed: 4 })).not.toEqual(bootstrapMean(values, { seed: 5, draws: 50 }))
    expect(bootstrapMean([3, 3, 3])).toEqual({ mean: 3, low: 3, high: 3 })
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
    const values = [3, 1, 4, 1, 5, 9, 2, 6]
    const mean = bootstrapSums(
      values.map((value) => [value, 1]),
      ([sum, n]) => sum! / n!,
      { seed: 5 },
    )
    expect(mean).toEqual(bootstrapMean(values, { seed: 5 }))
    const doubled = values.map((value) => 2 * value)
    expect(ratioBootstrap(doubled, values)).toEqual({ mean: 2, low: 2, high: 2 })
    expect(() => bootstrapSums([], () => 0)).toThrow(/no units/)
    expect(() => bootstrapSums([[1], [1, 2]], () => 0)).toThrow(/as many values/)
  })
})
