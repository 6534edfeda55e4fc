import fc from 'fast-check'
import { expect, it } from 'vitest'
import { dodge } from './dodge.js'

it('sets things at one place side by side about it, in their order', () => {
  const at = (place: number, low = 0, high = 10) => ({ place, low, high })
  expect(dodge([at(50), at(50), at(50)], 8)).toEqual([42, 50, 58])
  expect(dodge([at(53), at(50)], 8)).toEqual([55.5, 47.5])
})

it('leaves alone what is far enough, or stands at another height', () => {
  const things = [
    { place: 50, low: 0, high: 10 },
    { place: 50, low: 11, high: 20 },
    { place: 58, low: 0, high: 10 },
  ]
  expect(dodge(things, 8)).toEqual([50, 50, 58])
  expect(dodge([], 8)).toEqual([])
})

it('parts whatever covers each other, and moves the middle of a group nowhere', () => {
  const thing = fc.record({ place: fc.integer({ min: 0, max: 300 }), low: fc.constant(0), high: fc.constant(10) })
  fc.assert(
    fc.property(fc.array(thing, { maxLength: 12 }), fc.integer({ min: 1, max: 12 }), (things, gap) => {
      const places = dodge(things, gap)
      const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0)
      expect(mean(places)).toBeCloseTo(mean(things.map(({ place }) => place)), 6)
      const sorted = [...places].sort((a, b) => a - b)
      sorted.slice(1).forEach((place, i) => expect(place - sorted[i]!).toBeGreaterThanOrEqual(gap - 1e-5))
    }),
  )
})
