import { describe, expect, it } from 'vitest'
import { SpecError } from '../errors.js'
import { allLayers, checkPlan, gapsOf, largestHole } from './plan.js'

describe('checkPlan', () => {
  it.each([[[0]], [[15]], [[0, 2, 5]], [allLayers(16)]])('accepts %j', (plan) => {
    expect(() => checkPlan(plan, 16, 'mine')).not.toThrow()
  })

  it.each([
    [[], 'mine: the list of layers is empty'],
    [[0, 16], 'mine: layer 16 does not exist; the model has 16 layers, 0 to 15'],
    [[-1], 'mine: -1 is not a layer'],
    [[0.5], 'mine: 0.5 is not a layer'],
    [[Number.NaN], 'mine: NaN is not a layer'],
    [[1, 1], 'mine: layer 1 is listed twice'],
    [[3, 1], 'mine: layer 1 stands after 3'],
  ])('refuses %j', (plan, reason) => {
    expect(() => checkPlan(plan, 16, 'mine')).toThrow(SpecError)
    expect(() => checkPlan(plan, 16, 'mine')).toThrow(reason)
  })
})

it('gaps and the largest hole of a plan', () => {
  expect(gapsOf([0, 2, 5])).toEqual([2, 3])
  expect(largestHole([0, 2, 5, 9, 10])).toEqual({ first: 6, last: 8 })
  expect(largestHole([0, 1, 2])).toBeNull()
  expect(largestHole([4])).toBeNull()
})
