import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { gapPolicy, tracesOf } from '../../test/traces-of.js'
import { chooseLayers, fitChosenLayers } from './check-plan.js'
import { crossFit } from './cross-fit.js'

const LAYERS = 7
const CHECKED = [0, 1, 2, 3, 4, 5]

/** Layers and checks of all instances where these layers are checked. */
function costOf(fires: readonly number[], chosen: readonly number[], checkCost: number): number {
  return fires.reduce((sum, fire) => {
    const exit = chosen.find((layer) => layer >= fire) ?? LAYERS - 1
    return sum + exit + 1 + checkCost * chosen.filter((layer) => layer <= exit).length
  }, 0)
}

describe('the choice of layers', () => {
  it('costs least of all sets where a value that has risen stays up', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: LAYERS }), { minLength: 1, maxLength: 30 }),
        fc.double({ min: 0, max: 2, noNaN: true }),
        (fires, checkCost) => {
          const decisions = fires.map((fire) => Float64Array.from(CHECKED, (layer) => (layer >= fire ? 1 : -1)))
          const chosen = chooseLayers({ policy: gapPolicy(LAYERS, CHECKED), decisions }, 0, LAYERS, checkCost)
          const sets = Array.from({ length: 2 ** CHECKED.length }, (_, bits) => CHECKED.filter((l) => (bits >> l) & 1))
          const least = Math.min(...sets.map((set) => costOf(fires, set, checkCost)))
          expect(costOf(fires, chosen, checkCost)).toBeCloseTo(least, 9)
        },
      ),
      { seed: 5, numRuns: 200 },
    )
  })

  it('checks nowhere where no check pays', () => {
    const decisions = [Float64Array.from(CHECKED, () => 1)]
    expect(chooseLayers({ policy: gapPolicy(LAYERS, CHECKED), decisions }, 0, LAYERS, 100)).toEqual([])
  })
})

describe('a policy whose checked layers are chosen', () => {
  // Answers are settled at layer 3 or 5, and the gap says so.
  const traces = tracesOf(
    LAYERS,
    Array.from({ length: 60 }, (_, i) => {
      const settled = i % 2 === 0 ? 3 : 5
      const agree = Array.from({ length: LAYERS }, (_, layer) => Number(layer >= settled))
      return { gap: agree.map((a, layer) => 0.1 + 0.7 * a + 0.001 * ((i * 7 + layer) % 10)), agree, correct: agree }
    }),
  )
  const options = { kind: 'adainfer-logistic', perLayer: true } as const
  const target = { kind: 'accuracy-loss', value: 0.01 } as const

  it('keeps the layers that pay, and says what a check was taken to cost', () => {
    const policy = fitChosenLayers(traces, options, target, 0.3)
    expect(policy.checked_layers).toEqual([3, 5])
    expect(policy.calibration).toMatchObject({ reached: true, mean_layers: 5, check_cost: 0.3 })
  })

  it('is the policy that checks everywhere where no check pays', () => {
    const everywhere = crossFit(traces, options, target).policy
    expect(fitChosenLayers(traces, options, target, 50).checked_layers).toEqual(everywhere.checked_layers)
  })
})
