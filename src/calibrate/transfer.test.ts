import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { gapPolicy } from '../../test/traces-of.js'
import type { LinearClassifier } from '../depth/classifier.js'
import type { PolicyFile } from '../depth/policy-file.js'
import { InputError } from '../errors.js'
import { type Checks, transferChecks, transferPolicy } from './transfer.js'

const all = (layers: number): number[] => Array.from({ length: layers - 1 }, (_, layer) => layer)

const checks = (given: Partial<Checks>): Checks => ({
  kind: 'adainfer-svm',
  features: ['gap', 'top_prob'],
  checked_layers: all(16),
  per_layer: false,
  ...given,
})

/** One classifier per checked layer; each one's intercept is its layer. */
function perLayer(layers: number, checked: readonly number[]): PolicyFile {
  const classifiers = checked.map(
    (layer): LinearClassifier => ({
      type: 'linear',
      scaling: { mean: [0], deviation: [1] },
      weights: [1],
      intercept: layer,
    }),
  )
  return { ...gapPolicy(layers, checked), per_layer: true, classifiers }
}

const layersOf = (policy: PolicyFile): number[] =>
  policy.classifiers.map((classifier) => (classifier as LinearClassifier).intercept)

describe('the checked layers', () => {
  it('are all but the last where they were so before', () => {
    expect(transferChecks(checks({}), 16, 32)).toEqual(all(32))
    expect(transferChecks(checks({}), 16, 4)).toEqual(all(4))
  })

  it('stand at the same relative depth', () => {
    expect(transferChecks(checks({ checked_layers: [7, 11] }), 16, 32)).toEqual([15, 23])
    expect(transferChecks(checks({ checked_layers: [15, 23] }), 32, 16)).toEqual([7, 11])
    expect(transferChecks(checks({ checked_layers: [14] }), 16, 4)).toEqual([2])
  })

  it.each([
    ['a CRF with weights per layer', checks({ kind: 'adainfer-crf', per_layer: true }), 32, /one chain/],
    ['layers that fall onto one', checks({ checked_layers: [8, 9, 10] }), 4, /its 3 checked layers fall onto 2$/],
    [
      'cosines whose layer before is not checked',
      checks({ features: ['cos_mlp'], checked_layers: [0, 1, 2] }),
      32,
      /cos_mlp of layer 1 need a check of layer 0$/,
    ],
  ])('are refused for %s', (_, given, to, reason) => {
    expect(() => transferChecks(given, 16, to)).toThrow(InputError)
    expect(() => transferChecks(given, 16, to)).toThrow(reason)
    expect(transferChecks(given, 16, 16)).toBe(given.checked_layers)
  })

  it('are layers of the other model, ascending, or refused', () => {
    const sizes = fc.integer({ min: 2, max: 90 })
    fc.assert(
      fc.property(sizes, sizes, fc.array(fc.nat({ max: 88 }), { minLength: 1 }), (from, to, picked) => {
        const own = [...new Set(picked.filter((layer) => layer <= from - 2))].sort((a, b) => a - b)
        if (own.length === 0) return
        let moved: readonly number[]
        try {
          moved = transferChecks(checks({ checked_layers: own }), from, to)
        } catch (error) {
          expect(error).toBeInstanceOf(InputError)
          return
        }
        expect(moved.every((layer) => layer >= 0 && layer <= to - 2)).toBe(true)
        expect(moved.every((layer, i) => i === 0 || layer > moved[i - 1]!)).toBe(true)
      }),
    )
  })
})

describe('the classifiers', () => {
  it('are as they were in a model of as many layers', () => {
    const policy = perLayer(4, all(4))
    expect(transferPolicy(policy, 4)).toBe(policy)
  })

  it('stay one where one serves all layers', () => {
    const policy = gapPolicy(4, all(4))
    const moved = transferPolicy(policy, 8)
    expect(moved).toMatchObject({ model: { layers: 8 }, checked_layers: all(8), calibration: null, bound: null })
    expect(moved.classifiers).toBe(policy.classifiers)
  })

  it('are those of the nearest relative depth', () => {
    expect(layersOf(transferPolicy(perLayer(8, all(8)), 4))).toEqual([1, 3, 5])
    expect(layersOf(transferPolicy(perLayer(4, all(4)), 8))).toEqual([0, 0, 0, 1, 1, 2, 2])
    expect(layersOf(transferPolicy(perLayer(8, [3, 5]), 4))).toEqual([3, 5])
  })
})
