import { expect, it } from 'vitest'
import { runSameLayers } from './same-layers.js'
import { parseDepth } from './spec.js'

const same = (a: string, b: string): boolean =>
  runSameLayers(parseDepth(a, { layers: 16 }), parseDepth(b, { layers: 16 }))

it.each([
  ['unified:2x,by=layers', 'layers:0,2,4,6,9,11,13,15'],
  ['layers:0,1,2', 'bottom:3'],
  ['layers:0,1,2', 'layers:0,1,2,prompt=plan'],
  ['full', 'unified:1x,by=layers'],
  ['full', 'bottom:16'],
  ['gap:0.8', 'gap:0.80'],
])('%s and %s run the same layers', (a, b) => {
  expect(same(a, b)).toBe(true)
  expect(same(b, a)).toBe(true)
})

it.each([
  ['layers:0,1,2', 'layers:0,1,3'],
  ['layers:0,1,2', 'layers:0,1'],
  ['layers:0,1,2', 'full'],
  ['layers:0,1,2', 'exit:2'],
  ['full', 'gap:0.8'],
  ['gap:0.8', 'gap:0.9'],
  ['skipdecode:2x', 'unified:2x,by=layers'],
])('%s and %s do not', (a, b) => {
  expect(same(a, b)).toBe(false)
  expect(same(b, a)).toBe(false)
})
