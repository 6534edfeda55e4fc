import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Check, ExitPolicy } from './policy.js'
import { parseDepth } from './spec.js'

const parse = (spec: string, layers = 16) => parseDepth(spec, { layers }) as ExitPolicy

/** The layer at which a token with these best tokens per layer stops, or -1. */
function exitOf(spec: string, tops: readonly number[]): number {
  const policy = parse(spec, tops.length + 1)
  const token = policy.startToken?.({ position: 0, generated: 0 }, undefined)
  const layers = policy.checkLayers(tops.length + 1)
  return layers.find((layer) => policy.exits({ layer, top: tops[layer] } as Check, token, undefined)) ?? -1
}

describe('patience', () => {
  it.each([
    ['patience:3', [7, 7, 7, 7], 2],
    ['patience:3', [7, 7, 8, 8, 8], 4],
    ['patience:3', [7, 8, 7, 8, 7, 8], -1],
    ['patience:1', [7, 8], 0],
    ['patience:2', [0, 1, 1], 2],
    ['patience:4', [7, 7, 7, 7], 3],
    // Only what is checked counts: layers 1, 3, 5.
    ['patience:2,from=1,every=2', [5, 7, 6, 7, 6, 8], 3],
    ['patience:3,layers=0,1,4', [7, 7, 8, 8, 7], 4],
  ] as const)('%s on %j stops at %i', (spec, tops, layer) => {
    expect(exitOf(spec, tops)).toBe(layer)
  })

  it('stops where the last K checks agree for the first time', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(2), { minLength: 1, maxLength: 30 }),
        fc.integer({ min: 1, max: 6 }),
        (tops, wanted) => {
          const agree = (layer: number) =>
            layer + 1 >= wanted && new Set(tops.slice(layer + 1 - wanted, layer + 1)).size === 1
          expect(exitOf(`patience:${wanted}`, tops)).toBe(tops.findIndex((_, layer) => agree(layer)))
        },
      ),
    )
  })

  it('checks nothing where it cannot stop, and says so', () => {
    expect(parse('patience:3').notes).toEqual([])
    expect(parse('patience:0').checkLayers(16)).toEqual([])
    expect(parse('patience:0').notes).toEqual(['patience:0 stops nowhere, so every token runs all layers'])
    const few = parse('patience:3,layers=3,5')
    expect(few.checkLayers(16)).toEqual([])
    expect(few.notes?.[0]).toContain('2 layers are checked, so 3 checks in a row cannot agree')
    expect(parse('patience:3,from=15').notes).toHaveLength(1)
    expect(() => parse('patience:3').checkLayers(12)).toThrow(/16 layers/)
  })
})
