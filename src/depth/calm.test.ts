import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decayedThreshold } from './calm.js'
import type { Check, ExitPolicy } from './policy.js'
import { parseDepth } from './spec.js'

const parse = (spec: string) => parseDepth(spec, { layers: 16 }) as ExitPolicy

function exits(spec: string, check: Partial<Check>, generated = 0, maxTokens = 10): boolean {
  const policy = parse(spec)
  const sequence = policy.startSequence?.({ layers: 16, promptTokens: 3, maxTokens })
  const token = policy.startToken?.({ position: 2 + generated, generated }, sequence)
  return policy.exits({ layer: 5, ...check } as Check, token, sequence)
}

describe('the decaying threshold', () => {
  it('is T * exp(-decay * i / N) / 10 + 9 * T / 10', () => {
    expect(decayedThreshold(0.9, 4, 0, 100)).toBe(0.9)
    expect(decayedThreshold(0.9, 4, 50, 100)).toBeCloseTo((0.9 * Math.exp(-2)) / 10 + (9 * 0.9) / 10, 12)
    expect(decayedThreshold(0.9, 0, 50, 100)).toBe(0.9)
  })

  it('starts at T, falls and stays above nine tenths of it', () => {
    const unit = fc.double({ min: 0, max: 1, noNaN: true })
    fc.assert(
      fc.property(
        unit,
        fc.double({ min: 0, max: 50, noNaN: true }),
        fc.integer({ min: 1, max: 200 }),
        (t, decay, n) => {
          let before = t
          for (let i = 0; i <= n; i++) {
            const now = decayedThreshold(t, decay, i, n)
            expect(now).toBeLessThanOrEqual(before)
            expect(now).toBeGreaterThanOrEqual(0.9 * t - 1e-15)
            before = now
          }
        },
      ),
    )
  })
})

describe('calm', () => {
  it('compares strictly, with the threshold of the token at hand', () => {
    expect(exits('calm:0.9,decay=0', { gap: 0.9 })).toBe(false)
    expect(exits('calm:0.9,decay=0', { gap: 0.9000001 })).toBe(true)
    expect(exits('calm:0.9', { gap: 0.85 }, 0)).toBe(false)
    expect(exits('calm:0.9', { gap: 0.85 }, 9)).toBe(true)
    expect(exits('calm:0.9', { gap: 0.85 }, 9, 1000)).toBe(false)
    expect(exits('calm:0.9', { gap: 0.8 }, 9)).toBe(false)
    expect(exits('calm:0', { gap: Number.NaN })).toBe(false)
  })

  it('measures the gap, the largest probability or the cosine of the hidden states', () => {
    expect(exits('calm:0.8,measure=max', { gap: 0.1, topProb: 0.81 })).toBe(true)
    expect(exits('calm:0.8', { gap: 0.1, topProb: 0.81 })).toBe(false)
    const input = Float32Array.of(1, 0)
    const state = (hidden: number[], layer = 5) =>
      exits('calm:0.9,measure=state', { layer, input, hidden: Float32Array.from(hidden) })
    expect(state([2, 0.1])).toBe(true)
    expect(state([1, 1])).toBe(false)
    expect(state([0, 0])).toBe(false)
    // Layer 0 has no layer before it.
    expect(state([2, 0.1], 0)).toBe(false)
  })

  it('asks for hidden states only where it reads them', () => {
    expect(parse('calm:0.9').needs).toEqual({})
    expect(parse('calm:0.9,measure=state').needs).toEqual({ hidden: true })
  })

  it('without decay decides as gap does', () => {
    const probability = fc.double({ min: 0, max: 1, noNaN: true })
    fc.assert(
      fc.property(probability, probability, fc.nat(9), (threshold, gap, generated) => {
        const plain = parse(`gap:${threshold}`).exits({ layer: 5, gap } as Check, undefined, undefined)
        expect(exits(`calm:${threshold},decay=0`, { gap }, generated)).toBe(plain)
      }),
    )
  })
})
