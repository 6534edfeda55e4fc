import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { adainferPolicy } from './adainfer.js'
import { decide, rbfValue, sigmoid, startDecision } from './classifier.js'
import { forwardStep } from './crf.js'
import { cosine, featureNeeds, readFeatures } from './exit-features.js'
import type { Check, ExitPolicy } from './policy.js'
import { loadPolicyFile, type PolicyFile } from './policy-file.js'
import { parseDepth } from './spec.js'

const SVM = 'examples/policies/svm.policy.json'
const CRF = 'examples/policies/crf.policy.json'

const check = (layer: number, gap: number, topProb: number, rest: Partial<Check> = {}): Check =>
  ({ layer, gap, topProb, top: 0, second: 1, ...rest }) as Check

/** First layer whose check fires, or -1. */
function exitOf(policy: ExitPolicy, checks: readonly Check[]): number {
  const token = policy.startToken?.({ position: 0, generated: 0 }, undefined)
  const layers = policy.checkLayers(16)
  return checks.find((c) => layers.includes(c.layer) && policy.exits(c, token, undefined))?.layer ?? -1
}

describe('adainfer:FILE', () => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'shoal-policy-'))
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  const write = (name: string, change: Partial<PolicyFile>, from = SVM): string => {
    const path = join(folder, name)
    writeFileSync(path, JSON.stringify({ ...(JSON.parse(readFileSync(from, 'utf8')) as PolicyFile), ...change }))
    return path
  }
  const parse = (spec: string, fingerprint?: string): ExitPolicy =>
    parseDepth(spec, { layers: 16, ...(fingerprint === undefined ? {} : { fingerprint }) }) as ExitPolicy

  it('stops at the first check whose value is greater than the threshold, strictly', () => {
    const linear = {
      type: 'linear',
      scaling: { mean: [0.5, 0], deviation: [0.5, 1] },
      weights: [1, 0],
      intercept: 0,
    } as const
    const path = write('linear.json', { classifiers: [linear], threshold: 0.5 })
    // (gap - 0.5) / 0.5 > 0.5 from a gap of 0.75 on.
    const policy = parse(`adainfer:${path}`)
    expect(exitOf(policy, [check(0, 0.75, 1), check(1, 0.7501, 1)])).toBe(1)
    expect(exitOf(policy, [check(0, Number.NaN, 1), check(1, 0.6, 1)])).toBe(-1)
    expect(exitOf(parse(`adainfer:${path},threshold=-1`), [check(0, 0.01, 1)])).toBe(0)
  })

  it('checks only the layers that the policy names', () => {
    expect(parse(`adainfer:${CRF}`).checkLayers(16)).toEqual([5, 7, 9, 11, 13])
    expect(() => parse(`adainfer:${CRF}`).checkLayers(12)).toThrow(/made for a model of 16 layers/)
    expect(() => parseDepth(`adainfer:${CRF}`, { layers: 12 })).toThrow(
      /made for a model of 16 layers and this one has 12/,
    )
  })

  it('never stops and checks nothing where no threshold was found', () => {
    const policy = parse(`adainfer:${write('never.json', { threshold: null })}`)
    expect(policy.checkLayers(16)).toEqual([])
    expect(policy.notes?.join()).toContain('every token runs all layers')
  })

  it('warns where the model is unknown or another one', () => {
    const path = write('model.json', { model: { name: 'other', fingerprint: 'abc', layers: 16 } })
    expect(parse(`adainfer:${SVM}`).notes?.join()).toContain('whether it suits this one is unknown')
    expect(parse(`adainfer:${path}`, 'abc').notes).toEqual([])
    expect(parse(`adainfer:${path}`).notes).toEqual([])
    expect(parse(`adainfer:${path}`, 'def').notes?.join()).toMatch(
      /made for another model \(other, abc\).*only moderately well across models/,
    )
  })

  it('warns of free generation unless a bound on generated sequences holds', () => {
    const { bound } = loadPolicyFile(CRF)
    const sequences = { ...bound!, unit: 'sequence' as const }
    expect(parse(`adainfer:${CRF}`).generationNotes?.join()).toContain('free generation degrades quickly')
    const prompts = {
      template: 'Q: {input}\nA: {output}\n\n',
      shots: 5,
      draws: 1,
      seed: 0,
      sampling: 'greedy',
      max_tokens: 8,
    } as const
    const path = write('sequence.json', { bound: sequences, prompts }, CRF)
    const bounded = parse(`adainfer:${path}`)
    expect(bounded.boundScope).toEqual({ prompts, tasks: sequences.tasks, measure: sequences.measure })
    expect(bounded.generationNotes?.join()).toMatch(
      /holds for greedy sequences of at most 8 tokens after prompts of .*written as "Q: \{input\}.*" with 5 shots/,
    )
    expect(parse(`adainfer:${path},threshold=0.9`).boundScope).toBeUndefined()
    expect(parse(`adainfer:${CRF}`).boundScope).toBeUndefined()
    const failed = write('failed.json', { bound: { ...sequences, holds: false } }, CRF)
    expect(parse(`adainfer:${failed}`).generationNotes).toHaveLength(1)
  })

  it('says that a bound does not hold for another threshold', () => {
    expect(parse(`adainfer:${CRF},threshold=0.5`).notes?.join()).toContain('the bound')
  })

  it('names a file that is missing', () => {
    expect(() => parse('adainfer:no-such.json')).toThrow('no-such.json: no such file')
    expect(() => parse('adainfer')).toThrow(/the policy file is missing/)
  })
})

describe('online values', () => {
  const weight = fc.double({ min: -5, max: 5, noNaN: true })
  const unit = fc.double({ min: 0, max: 1, noNaN: true })

  it('of a CRF: alpha(1) / (alpha(0) + alpha(1)) of the forward recursion', () => {
    const crf = fc.record({
      state: fc.tuple(fc.tuple(weight, weight, weight), fc.tuple(weight, weight, weight)),
      transitions: fc.tuple(fc.tuple(weight, weight), fc.tuple(weight, weight)),
    })
    fc.assert(
      fc.property(
        crf,
        fc.array(fc.tuple(unit, unit), { minLength: 1, maxLength: 12 }),
        ({ state, transitions }, rows) => {
          const token = startDecision()
          let alpha = [1, 1]
          for (const [t, x] of rows.entries()) {
            const score = state.map(([a, b, bias]) => a * x[0] + b * x[1] + bias)
            const before = alpha
            alpha = [0, 1].map(
              (label) =>
                Math.exp(score[label]!) *
                (t === 0
                  ? 1
                  : before[0]! * Math.exp(transitions[0][label]!) + before[1]! * Math.exp(transitions[1][label]!)),
            )
            const value = decide([{ type: 'crf', state, transitions }], false, x, token)
            expect(value).toBeCloseTo(alpha[1]! / (alpha[0]! + alpha[1]!), 9)
          }
        },
      ),
    )
  })

  it('of a CRF stay finite over a thousand layers of extreme weights', () => {
    let ratio = 0
    const steep = [
      [300, -300],
      [-300, 300],
    ] as const
    for (let layer = 0; layer < 1000; layer++) ratio = forwardStep(ratio, steep, 500)
    expect(Number.isFinite(ratio)).toBe(true)
    expect(sigmoid(ratio)).toBe(1)
  })

  it('of an RBF SVM: sum of kernels', () => {
    const scaling = { mean: [1, 2], deviation: [2, 4] }
    const vectors = [
      [0, 0],
      [1, -1],
    ]
    const value = rbfValue(
      { type: 'rbf', scaling, gamma: 0.5, support_vectors: vectors, coefficients: [2, -3], intercept: 0.25 },
      [3, 6],
    )
    expect(value).toBeCloseTo(2 * Math.exp(-1) - 3 * Math.exp(-2) + 0.25, 12)
  })

  it('take the classifier of their layer where each has its own', () => {
    const one = (intercept: number) =>
      ({ type: 'linear', scaling: { mean: [0], deviation: [1] }, weights: [0], intercept }) as const
    const token = startDecision()
    expect([0, 1, 2].map(() => decide([one(1), one(2), one(3)], false, [0], token))).toEqual([1, 2, 3])
    expect(decide([one(0)], true, [0], startDecision())).toBe(0.5)
  })
})

describe('features of a check', () => {
  const a = Float32Array.of(1, 0)
  const b = Float32Array.of(1, 1)
  const last = () => ({ layer: -1, attention: null, mlp: null })

  it('are read by name; cosines compare with the layer before and are 0 at layer 0', () => {
    const names = ['top_prob', 'gap', 'entropy', 'cos_hidden', 'cos_attention', 'cos_mlp'] as const
    const state = last()
    const rest = { entropy: 1.5, hidden: a, input: b, attention: a, mlp: a }
    expect([...readFeatures(names, check(0, 0.1, 0.2, rest), state, new Float64Array(6))]).toEqual([
      0.2, 0.1, 1.5, 0, 0, 0,
    ])
    const next = readFeatures(names, check(1, 0.1, 0.2, { ...rest, attention: b }), state, new Float64Array(6))
    expect(next[3]).toBeCloseTo(Math.SQRT1_2, 7)
    expect(next[4]).toBeCloseTo(Math.SQRT1_2, 7)
    expect(next[5]).toBe(1)
    expect(() => readFeatures(names, check(3, 0.1, 0.2, rest), state, next)).toThrow(/needs a check of layer 2/)
  })

  it('ask the engine for no more than they read', () => {
    expect(featureNeeds(['gap', 'top_prob'])).toEqual({})
    expect(featureNeeds(['entropy', 'cos_hidden'])).toEqual({ logits: true, hidden: true })
    expect(featureNeeds(['cos_mlp'])).toEqual({ sublayers: true })
    expect(adainferPolicy(loadPolicyFile(SVM), 'x').needs).toEqual({})
  })

  it('cosine of a zero vector is 0', () => {
    expect(cosine(a, Float32Array.of(0, 0))).toBe(0)
    expect(cosine(a, Float32Array.of(-2, 0))).toBe(-1)
  })
})
