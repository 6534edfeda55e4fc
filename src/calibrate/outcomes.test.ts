import fc from 'fast-check'
import { expect, it } from 'vitest'
import { gapPolicy, tracesOf } from '../../test/traces-of.js'
import { outcomes } from './outcomes.js'

const TRACES = tracesOf(4, [
  { gap: [0.9, 0.9, 0.9, 1], agree: [1, 1, 1, 1], correct: [1, 1, 1, 1] },
  { gap: [0.1, 0.9, 0.2, 1], agree: [0, 0, 1, 1], correct: [0, 0, 1, 1] },
  { gap: [0.9, 0.2, 0.9, 1], agree: [0, 0, 0, 1], correct: [1, 0, 0, 0] },
  { gap: [0.1, 0.2, 0.3, 1], agree: [0, 1, 0, 1], correct: [0, 1, 0, 1] },
])

it('are those of the layers where a rule leaves; wins are not set against losses', () => {
  expect(outcomes(TRACES, 'full')).toMatchObject({ exits: [3, 3, 3, 3], accuracy: 0.75, losses: 0, agreement: 1 })
  expect(outcomes(TRACES, 'oracle')).toMatchObject({ exits: [0, 2, 3, 3], agreement: 1, meanLayers: 3 })
  const gap = outcomes(TRACES, { gap: 0.8 })
  expect(gap).toMatchObject({ exits: [0, 1, 0, 3], right: [1, 0, 1, 1], fullRight: [1, 1, 0, 1] })
  expect(gap).toMatchObject({ accuracy: 0.75, losses: 0.25, agreement: 0.5, meanLayers: 2 })
  expect(outcomes(TRACES, [1, 1, 1, 1]).exits).toEqual([1, 1, 1, 1])
  expect(outcomes(TRACES, { ...gapPolicy(4, [0, 1, 2]), threshold: 0.8 })).toEqual(gap)
})

it('are null where answers are not known of all', () => {
  const unknown = {
    ...TRACES,
    instances: TRACES.instances.map((own, i) => (i === 1 ? { ...own, correct: null } : own)),
  }
  expect(outcomes(unknown, 'full')).toMatchObject({ accuracy: null, losses: null, right: null, agreement: 1 })
})

it('lose no more than accuracy falls and wins make up', () => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 3 }), { minLength: 4, maxLength: 4 }), (exits) => {
      const { losses, accuracy } = outcomes(TRACES, exits)
      expect(losses! + 1e-12).toBeGreaterThanOrEqual(0.75 - accuracy!)
    }),
  )
})
