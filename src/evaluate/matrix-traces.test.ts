import fc from 'fast-check'
import { expect, it } from 'vitest'
import { createSplit } from '../calibrate/split.js'
import { PARTS } from './matrix-traces.js'

it('an input has one part, in whatever task, and the same seed gives the same parts', () => {
  const inputs = fc.array(fc.string({ maxLength: 2 }), { maxLength: 30 })
  fc.assert(
    fc.property(fc.nat(), fc.array(inputs, { maxLength: 4 }), (seed, tasks) => {
      const [split, again] = [createSplit(PARTS, seed), createSplit(PARTS, seed)]
      const known = new Map<string, string>()
      for (const task of tasks) {
        const parts = split(task)
        expect(again(task)).toEqual(parts)
        for (const [i, part] of parts.entries()) {
          expect(known.get(task[i]!) ?? part).toBe(part)
          known.set(task[i]!, part)
        }
      }
    }),
  )
})

it('half of the questions are for testing, whatever their order', () => {
  const inputs = Array.from({ length: 400 }, (_, i) => `question ${i}`)
  const parts = createSplit(PARTS, 1)(inputs)
  const share = (of: readonly string[]) => PARTS.map((part) => of.filter((one) => one === part).length)
  expect(share(parts)).toEqual([200, 200])
  // Files often have two labels in turn.
  for (const count of share(parts.filter((_, i) => i % 2 === 0))) expect(count).toBeGreaterThan(30)
})
