import { expect, it } from 'vitest'
import { didYouMean, nearestNames } from './nearest-name.js'

const KINDS = ['gap', 'calm', 'entropy', 'patience', 'unified', 'exit', 'layers']

it.each([
  ['gapp', 'gap'],
  ['gpa', 'gap'],
  ['GAP', 'gap'],
  ['patient', 'patience'],
  ['unifed', 'unified'],
  ['layer', 'layers'],
])('%s is nearest to %s', (typed, name) => {
  expect(nearestNames(typed, KINDS)[0]).toBe(name)
  expect(didYouMean(typed, KINDS)).toBe(`; did you mean ${name}?`)
})

it.each(['warp', 'xyz', '', 'constructor'])('nothing is near to %j', (typed) => {
  expect(nearestNames(typed, KINDS)).toEqual([])
  expect(didYouMean(typed, KINDS)).toBe('')
})

it('orders all names where nothing is too far', () => {
  expect(nearestNames('exits', ['unified', 'exit', 'exist'], Number.POSITIVE_INFINITY)).toEqual([
    'exit',
    'exist',
    'unified',
  ])
})

it('puts names that begin with what was typed first, then those that have it within', () => {
  const names = ['first', 'animal_v_fruit', 'fruit_v_animal_3', 'fruits']
  expect(nearestNames('Fruit', names, Number.POSITIVE_INFINITY)).toEqual([
    'fruits',
    'fruit_v_animal_3',
    'animal_v_fruit',
    'first',
  ])
})

it('takes no longer for a name of a million letters', () => {
  expect(nearestNames('a'.repeat(1e6), KINDS)).toEqual([])
})
