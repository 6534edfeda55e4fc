import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fixed, interval, signed } from './format.js'
import { domainOf, linearScale } from './scale.js'

const values = fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 20 })

describe('a scale', () => {
  it('places every value within its range, in order', () => {
    fc.assert(
      fc.property(values, fc.integer({ min: 1, max: 12 }), (data, count) => {
        const scale = linearScale(domainOf(data), [50, 300], count)
        const sorted = [...data].sort((a, b) => a - b).map(scale.place)
        sorted.forEach((place, i) => {
          expect(place).toBeGreaterThanOrEqual(50 - 1e-6)
          expect(place).toBeLessThanOrEqual(300 + 1e-6)
          if (i > 0) expect(place).toBeGreaterThanOrEqual(sorted[i - 1]! - 1e-6)
        })
      }),
    )
  })

  it('has few ticks, all within the domain and told apart by their labels', () => {
    fc.assert(
      fc.property(values, fc.integer({ min: 2, max: 12 }), (data, count) => {
        const [low, high] = domainOf(data)
        const { ticks, format } = linearScale([low, high], [0, 1], count)
        expect(ticks.length).toBeLessThanOrEqual(count * 2 + 1)
        for (const tick of ticks) {
          expect(tick).toBeGreaterThanOrEqual(low - (high - low) * 1e-6)
          expect(tick).toBeLessThanOrEqual(high + (high - low) * 1e-6)
        }
        expect(new Set(ticks.map(format)).size).toBe(ticks.length)
      }),
    )
  })

  it.each([
    [[0, 1], 5, ['0.0', '0.2', '0.4', '0.6', '0.8', '1.0']],
    [[-0.05, 0.05], 4, ['-0.04', '-0.02', '0.00', '0.02', '0.04']],
    [[7.5, 16.4], 4, ['8', '10', '12', '14', '16']],
  ] as const)('%j has ticks at round values', (domain, count, labels) => {
    const { ticks, format } = linearScale(domain, [0, 100], count)
    expect(ticks.map(format)).toEqual(labels)
  })

  it('has a domain without values too', () => {
    expect(domainOf([])).toEqual([0, 1])
    expect(domainOf([Number.NaN, Number.POSITIVE_INFINITY])).toEqual([0, 1])
    expect(domainOf([-1e308, 1e308])).toEqual([0, 1])
  })
})

describe('numbers', () => {
  it('have no negative zero and a sign where they are differences', () => {
    expect(fixed(-0.0001, 2)).toBe('0.00')
    expect(signed(0.004, 3)).toBe('+0.004')
    expect(signed(-0.0001, 3)).toBe('0.000')
    expect(fixed(Number.NaN, 2)).toBe('–')
    expect(fixed(null, 2)).toBe('–')
  })

  it('carry their interval', () => {
    expect(interval({ mean: 0.71, low: 0.68, high: 0.74, n: 400 }, 2)).toBe('0.71 [0.68, 0.74]')
    expect(interval({ mean: 0.71, low: 0.6, high: 0.82, n: 12 }, 2)).toBe('0.71 [0.60, 0.82] (n 12)')
    expect(interval({ mean: 0.71, low: Number.NaN, high: 0.74, n: 1 }, 2)).toBe('0.71 (n 1)')
    expect(interval(null, 2)).toBe('–')
  })
})
