import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { boundTrials } from '../../test/bound-trials.js'
import { gapPolicy, tracesOf } from '../../test/traces-of.js'
import { POLICY_KINDS } from '../depth/policy-kind.js'
import { createRandomStream } from '../engine/schedule/random-stream.js'
import { binomialCdf, binomialPmf } from './binomial.js'
import {
  binomialPValue,
  boundPolicy,
  fixedSequenceTest,
  hoeffdingBentkusPValue,
  thresholdCandidates,
  unitsNeeded,
} from './bound.js'
import { fitPolicy } from './fit.js'
import { readTraces, selectTraces } from './traces.js'

/** Natural logarithm of a fraction of big integers, for exact binomial sums with p = a / b. */
function exactCdf(k: number, n: number, a: bigint, b: bigint): number {
  let choose = 1n
  let sum = 0n
  for (let i = 0; i <= k; i++) {
    sum += choose * a ** BigInt(i) * (b - a) ** BigInt(n - i)
    choose = (choose * BigInt(n - i)) / BigInt(i + 1)
  }
  const total = b ** BigInt(n)
  const scale = 10n ** 30n
  return Number((sum * scale) / total) / 1e30
}

describe('the binomial tail', () => {
  it('has known values', () => {
    expect(binomialCdf(0, 149, 0.02)).toBeCloseTo(0.98 ** 149, 15)
    // Of the dice: P(at most 1 six in 10 throws).
    expect(binomialCdf(1, 10, 1 / 6)).toBeCloseTo((5 / 6) ** 10 + 10 * (1 / 6) * (5 / 6) ** 9, 14)
    expect(binomialPmf(50, 100, 0.5)).toBeCloseTo(0.07958923738717877, 15)
    expect([binomialCdf(-1, 5, 0.5), binomialCdf(5, 5, 0.5), binomialCdf(2, 5, 0), binomialCdf(2, 5, 1)]).toEqual([
      0, 1, 1, 0,
    ])
  })

  it('equals exact rational sums', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 400 }),
        fc.integer({ min: 0, max: 400 }),
        fc.integer({ min: 1, max: 99 }),
        (n, k, percent) => {
          fc.pre(k < n)
          const exact = exactCdf(k, n, BigInt(percent), 100n)
          expect(Math.abs(binomialCdf(k, n, percent / 100) - exact)).toBeLessThan(
            1e-12 * Math.max(exact, 1e-12) + 1e-14,
          )
        },
      ),
      { numRuns: 100 },
    )
  })

  it('is right for a hundred thousand', () => {
    const n = 100_000
    for (const p of [0.001, 0.02, 0.5]) {
      const mean = n * p
      const deviation = Math.sqrt(n * p * (1 - p))
      // The median of a binomial is within 1 of its mean, and both tails sum to 1.
      expect(binomialCdf(Math.round(mean), n, p)).toBeGreaterThan(0.49)
      expect(binomialCdf(Math.round(mean) - 2, n, p)).toBeLessThan(0.5)
      for (const z of [-6, -2, -0.1, 0.1, 2, 6]) {
        const k = Math.round(mean + z * deviation)
        expect(binomialCdf(k, n, p) + binomialCdf(n - k - 1, n, 1 - p)).toBeCloseTo(1, 10)
        expect(binomialCdf(k, n, p) - binomialCdf(k - 1, n, p)).toBeCloseTo(binomialPmf(k, n, p), 12)
      }
    }
  })
})

describe('p-values', () => {
  it('149 prompts are the fewest for 2% at 95%', () => {
    expect(unitsNeeded({ maxDisagreement: 0.02, confidence: 0.95 })).toBe(149)
    expect(binomialPValue(0, 149, 0.02)).toBeLessThanOrEqual(0.05)
    expect(binomialPValue(0, 148, 0.02)).toBeGreaterThan(0.05)
    expect(unitsNeeded({ maxDisagreement: 0.5, confidence: 0.5 })).toBe(1)
    expect(binomialPValue(0, 0, 0.02)).toBe(1)
  })

  it('of a mean: Hoeffding and Bentkus, whichever is smaller', () => {
    expect(hoeffdingBentkusPValue(0, 149, 0.02)).toBeCloseTo(0.98 ** 149, 12)
    const n = 200
    const h = 0.01 * Math.log(0.01 / 0.05) + 0.99 * Math.log(0.99 / 0.95)
    const wanted = Math.min(Math.exp(-n * h), Math.E * binomialCdf(2, n, 0.05))
    expect(hoeffdingBentkusPValue(0.01, n, 0.05)).toBeCloseTo(wanted, 12)
    expect(hoeffdingBentkusPValue(0.06, n, 0.05)).toBe(1)
  })

  it('grow with the disagreement and shrink with the units', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), fc.double({ min: 0.001, max: 0.5, noNaN: true }), (n, alpha) => {
        const values = Array.from({ length: Math.min(n, 20) }, (_, k) => binomialPValue(k, n, alpha))
        for (const [k, p] of values.entries()) if (k > 0) expect(p).toBeGreaterThanOrEqual(values[k - 1]!)
        expect(binomialPValue(0, n + 1, alpha)).toBeLessThan(binomialPValue(0, n, alpha))
      }),
    )
  })
})

describe('fixed sequence testing', () => {
  it('stops at the first failure, whatever comes after', () => {
    const p = [0.01, 0.05, 0.06, 0.0001]
    expect(fixedSequenceTest(4, 0.95, (i) => p[i]!)).toMatchObject({ chosen: 1, tested: 3, pValue: 0.05 })
    expect(fixedSequenceTest(4, 0.995, (i) => p[i]!)).toEqual({ chosen: -1, tested: 1, pValue: null })
    expect(fixedSequenceTest(0, 0.95, () => 0)).toEqual({ chosen: -1, tested: 0, pValue: null })
  })
})

describe('a bound', () => {
  // A gap of g is right with probability that grows with g; depth 2 of 3 where it exits.
  const draw = (random: () => number): { gap: number[]; agree: number[] } => {
    const gap = random()
    return { gap: [gap, 1, 1], agree: [random() < 0.06 * (1 - gap) ** 0.7 ? 0 : 1, 1, 1] }
  }
  const policy = gapPolicy(3, [0])

  it('is violated by at most 5% of calibration sets (within 1.65 standard errors of 2,000)', () => {
    const random = createRandomStream(7)
    const pool = Array.from({ length: 4000 }, () => draw(random))
    const candidates = thresholdCandidates(
      policy,
      tracesOf(
        3,
        Array.from({ length: 500 }, () => draw(random)),
      ),
    )
    // Per member of the pool and candidate: does it exit there and differ?
    const differs = pool.map(({ gap, agree }) =>
      Uint8Array.from(candidates, (t) => (gap[0]! > t && agree[0] === 0 ? 1 : 0)),
    )
    const truth = candidates.map((_, c) => differs.reduce((sum, d) => sum + d[c]!, 0) / pool.length)
    expect(Math.max(...truth)).toBeGreaterThan(0.02)
    let violations = 0
    let used = 0
    for (let run = 0; run < 2000; run++) {
      const sample = Array.from({ length: 400 }, () => differs[Math.floor(random() * pool.length)]!)
      const { chosen } = fixedSequenceTest(candidates.length, 0.95, (c) =>
        binomialPValue(
          sample.reduce((sum, d) => sum + d[c]!, 0),
          400,
          0.02,
        ),
      )
      if (chosen < 0) continue
      used++
      if (truth[chosen]! > 0.02) violations++
    }
    expect(used).toBeGreaterThan(1500)
    expect(violations / 2000).toBeLessThanOrEqual(0.058)
    // And it is not met by never exiting.
    expect(violations).toBeGreaterThan(0)
  })

  describe.each(POLICY_KINDS)('on real traces of ripple-8m, %s', (kind) => {
    it.each([149, 400])('holds for 2,000 calibration sets of %d prompts', async (size) => {
      const traces = await readTraces('test/fixtures/classifiers/traces.json')
      const train = selectTraces(traces, (i) => i % 3 === 0)
      const population = selectTraces(traces, (i) => i % 3 !== 0)
      const fitted = fitPolicy(train, { kind })
      const candidates = thresholdCandidates(fitted, train)
      const request = { maxDisagreement: 0.02, confidence: 0.95 }
      const trials = boundTrials(fitted, candidates, population, request, { sets: 2000, size, seed: 1 })
      // There is something to violate, and it is not met by never exiting.
      expect(Math.max(...trials.truth)).toBeGreaterThan(0.05)
      expect(trials.meanLayers).toBeLessThan(16)
      expect(trials.violations / 2000).toBeLessThanOrEqual(0.058)
    })
  })

  it('has candidates from safe to bold, in the order of their mean depth', () => {
    const random = createRandomStream(1)
    const candidates = thresholdCandidates(
      policy,
      tracesOf(
        3,
        Array.from({ length: 300 }, () => draw(random)),
      ),
    )
    expect(candidates.length).toBeGreaterThan(40)
    expect(candidates.length).toBeLessThanOrEqual(64)
    for (const [i, t] of candidates.entries()) if (i > 0) expect(t).toBeLessThan(candidates[i - 1]!)
    expect(candidates[0]).toBeGreaterThan(0.95)
    expect(candidates.at(-1)).toBeLessThan(0.05)
  })

  it('needs enough prompts, and full depth is what it falls back on', () => {
    const easy = Array.from({ length: 149 }, () => ({ gap: [0.5, 1, 1], agree: [1, 1, 1] }))
    const request = { maxDisagreement: 0.02, confidence: 0.95 }
    expect(boundPolicy(policy, [0.4], tracesOf(3, easy), request)).toMatchObject({
      threshold: 0.4,
      bound: { holds: true, units: 149, unit: 'answer', tested: 1, disagreement: 0, mean_layers: 1, units_needed: 149 },
    })
    expect(boundPolicy(policy, [0.4], tracesOf(3, easy.slice(1)), request)).toMatchObject({
      threshold: null,
      bound: { holds: false, units: 148, disagreement: null, p_value: null, mean_layers: 3, units_needed: 149 },
    })
    expect(() => boundPolicy(policy, [], tracesOf(3, easy), { ...request, maxDisagreement: 0 })).toThrow(
      /between 0 and 1/,
    )
  })

  it('counts a question once, however many draws of shots it was asked with', () => {
    const asked = tracesOf(
      3,
      Array.from({ length: 150 }, () => ({ gap: [0.5, 1, 1], agree: [1, 1, 1] })),
    )
    const instances = asked.instances.map((instance, i) => ({ ...instance, question: String(i % 50) }))
    const request = { maxDisagreement: 0.02, confidence: 0.95 }
    expect(boundPolicy(policy, [0.4], { ...asked, instances }, request).bound).toMatchObject({
      units: 50,
      holds: false,
    })
  })

  it('of generated tokens counts sequences: any token, or the share of tokens', () => {
    // 200 sequences of four tokens; in one of them one token differs.
    const tokens = Array.from({ length: 800 }, (_, i) => ({
      gap: [0.5, 1, 1],
      agree: [i === 6 ? 0 : 1, 1, 1],
      sequence: Math.floor(i / 4),
    }))
    const request = { maxDisagreement: 0.05, confidence: 0.95 }
    const any = boundPolicy(policy, [0.4], tracesOf(3, tokens), request).bound!
    expect(any).toMatchObject({ unit: 'sequence', measure: 'any', units: 200, disagreement: 1 / 200 })
    expect(any.p_value).toBeCloseTo(binomialCdf(1, 200, 0.05), 12)
    const mean = boundPolicy(policy, [0.4], tracesOf(3, tokens), { ...request, measure: 'mean' }).bound!
    expect(mean).toMatchObject({ measure: 'mean', disagreement: 1 / 800 })
    expect(mean.p_value).toBeCloseTo(hoeffdingBentkusPValue(1 / 800, 200, 0.05), 12)
  })
})
