import { describe, expect, it } from 'vitest'
import { InputError, SpecError } from '../errors.js'
import { keptOf } from './ordered-removal.js'
import { influenceOrder } from './shortgpt.js'
import { measurementsOf, parseDepth } from './spec.js'

const ORDER = [3, 1, 4, 2, 5, 0]
const model = {
  layers: 6,
  order: (rule: string, data: string | null) => (data === null && rule === 'sleb' ? ORDER : []),
}

describe('layers taken out in a measured order', () => {
  it('are the first of it', () => {
    expect(keptOf(ORDER, 6)).toEqual([0, 1, 2, 3, 4, 5])
    expect(keptOf(ORDER, 4)).toEqual([0, 2, 4, 5])
    const policy = parseDepth('sleb:4', model)
    expect(policy).toMatchObject({ spec: 'sleb:4', everyToken: [0, 2, 4, 5], prompt: 'full' })
    expect(parseDepth('sleb:2,prompt=plan', model)).toMatchObject({ spec: 'sleb:2,prompt=plan', everyToken: [0, 5] })
  })

  it('have the least influence first, the lower of equals first', () => {
    expect(influenceOrder([0.9, 0.2, 0.5, 0.2, 0.1])).toEqual([4, 1, 3, 2, 0])
    expect(influenceOrder([Number.POSITIVE_INFINITY, 0.2, -0.1])).toEqual([2, 1, 0])
  })

  it('are measured on what data= names, and on a loaded model only', () => {
    expect(measurementsOf('sleb:4', { layers: 6 })).toEqual([{ kind: 'layer-order', rule: 'sleb', data: null }])
    expect(measurementsOf('shortgpt:4,data=a.txt', { layers: 6 })).toEqual([
      { kind: 'layer-order', rule: 'shortgpt', data: 'a.txt' },
    ])
    expect(() => parseDepth('sleb:4', { layers: 6 })).toThrow(/needs a model that is loaded/)
    for (const spec of ['sleb:1', 'sleb:7', 'shortgpt:0', 'sleb:x', 'sleb']) {
      expect(() => measurementsOf(spec, { layers: 6 })).toThrow(SpecError)
    }
    expect(() => parseDepth('sleb:4', model).kind === 'skip').not.toThrow()
    const policy = parseDepth('sleb:4', model)
    expect(() => policy.kind === 'skip' && policy.plan({ layers: 7, position: 1, generated: 1 }, null)).toThrow(
      InputError,
    )
  })
})
