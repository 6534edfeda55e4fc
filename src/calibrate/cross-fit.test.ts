import { describe, expect, it } from 'vitest'
import { tracesOf } from '../../test/traces-of.js'
import { adainferPolicy } from '../depth/adainfer.js'
import { startDecision } from '../depth/classifier.js'
import { readInputs } from '../depth/exit-features.js'
import type { Check } from '../depth/policy.js'
import { parsePolicyFile } from '../depth/policy-file.js'
import { createRandomStream } from '../engine/schedule/random-stream.js'
import { applyPolicy } from './apply.js'
import { crossFit } from './cross-fit.js'
import { type FitOptions, fitPolicy } from './fit.js'
import { outcomes } from './outcomes.js'
import { toLogOdds } from './platt.js'
import { policyText } from './policy-write.js'
import { frequentTokens } from './samples.js'
import { calibrateThreshold } from './threshold.js'
import { selectTraces, type TraceSet } from './traces.js'

const LAYERS = 5
const TARGET = { kind: 'agreement', value: 0.95 } as const
const SVM: FitOptions = { kind: 'adainfer-svm', perLayer: true, tokens: 2, classWeight: 'balanced', scores: 'log-odds' }

/** Shallow layers answer 7 to everything; where they say 9 they are right. */
function traces(count = 120, seed = 3): TraceSet {
  const random = createRandomStream(seed)
  const top1: number[][] = []
  const set = tracesOf(
    LAYERS,
    Array.from({ length: count }, () => {
      const final = random() < 0.5 ? 7 : 9
      const ids = Array.from({ length: LAYERS }, (_, l) => (l === LAYERS - 1 || random() < 0.3 * l ? final : 7))
      top1.push(ids)
      return { gap: ids.map(() => random()), agree: ids.map((id) => Number(id === final)) }
    }),
  )
  return { ...set, instances: set.instances.map((instance, i) => ({ ...instance, top1: top1[i]! })) }
}

describe('tokens', () => {
  it('are the most frequent answers of the last layer, the lower id first in a tie', () => {
    const set = traces()
    const last = set.instances.map(({ top1 }) => top1![LAYERS - 1]!)
    const sevens = last.filter((id) => id === 7).length
    expect(frequentTokens(set, 8)).toEqual(sevens >= last.length - sevens ? [7, 9] : [9, 7])
    expect(frequentTokens(set, 0)).toEqual([])
  })

  it('need traces with the best token', () => {
    const set = tracesOf(3, [{ gap: [0.1, 0.2, 0.3], agree: [0, 1, 1] }])
    expect(() => fitPolicy(set, { kind: 'adainfer-crf', tokens: 1 })).toThrow(/lack top1/)
    expect(() => fitPolicy(set, { kind: 'adainfer-crf', tokens: -1 })).toThrow(/tokens must be/)
    expect(() => fitPolicy(set, { kind: 'adainfer-crf', scores: 'log-odds' })).toThrow(/scores is not an option/)
  })

  it.each([
    SVM,
    { ...SVM, perLayer: false },
    { ...SVM, kernel: 'rbf' },
    { kind: 'adainfer-logistic', tokens: 2 },
    { kind: 'adainfer-crf', tokens: 2, c2: 1 },
  ] as FitOptions[])('give the same exits online as on traces, %j', (options) => {
    const set = traces()
    const policy = fitPolicy(set, { ...options, threshold: 0.6 })
    expect(policyText(parsePolicyFile('p.json', policyText(policy)))).toBe(policyText(policy))
    const online = adainferPolicy(policy, 'adainfer:p.json')
    for (const [i, { exit }] of applyPolicy(policy, set).entries()) {
      const { features, top1 } = set.instances[i]!
      const token = online.startToken!({ position: 0, generated: 0 }, undefined)
      const check = (layer: number): Check =>
        ({ layer, top: top1![layer], gap: features.gap![layer], topProb: features.top_prob![layer] }) as Check
      const at = policy.checked_layers.find((layer) => online.exits(check(layer), token, undefined))
      expect(at ?? LAYERS - 1).toBe(exit)
    }
  })

  it('are inputs after the features', () => {
    const last = { ...startDecision(), layer: -1, attention: null, mlp: null }
    const check = { layer: 0, top: 9, gap: 0.25 } as Check
    expect([...readInputs(['gap'], [7, 9], check, last, new Float64Array(3))]).toEqual([0.25, 0, 1])
  })
})

it('log-odds keep the order of the margins of a layer and say how likely agreement is', () => {
  const set = traces(400)
  const margins = applyPolicy(fitPolicy(set, { ...SVM, scores: 'margin' }), set)
  const odds = applyPolicy(fitPolicy(set, SVM), set)
  for (let check = 1; check < LAYERS - 1; check++) {
    const order = margins.map((_, i) => i).sort((a, b) => margins[a]!.decision[check]! - margins[b]!.decision[check]!)
    order.slice(1).forEach((i, k) => {
      expect(odds[i]!.decision[check]!).toBeGreaterThanOrEqual(odds[order[k]!]!.decision[check]! - 1e-9)
    })
    const mean = odds.reduce((sum, { decision }) => sum + 1 / (1 + Math.exp(-decision[check]!)), 0) / odds.length
    const share = set.instances.reduce((sum, { agree }) => sum + agree[check]!, 0) / odds.length
    expect(Math.abs(mean - share)).toBeLessThan(0.05)
  }
})

it('log-odds come from margins of SVMs that saw no sample of the question, however many samples it has', () => {
  // Two samples a question, which the feature names.
  const n = 30
  const x = Array.from({ length: 2 * n }, (_, i) => Float64Array.of(i >> 1))
  const samples = { x, y: Uint8Array.from(x, (_, i) => ((i * 7) % 3) & 1), questions: x.map(([q]) => String(q)) }
  const svm = { type: 'linear', scaling: { mean: [0], deviation: [1] }, weights: [1], intercept: 0 } as const
  let judged = 0
  toLogOdds(svm, samples, (train) => (row) => {
    expect(train.x.some(([question]) => question === row[0])).toBe(false)
    judged++
    return row[0]!
  })
  expect(judged).toBe(2 * n)
})

describe('crossFit', () => {
  it('fits on everything and meets the target on values that no instance had a part in', () => {
    const set = traces()
    const policy = crossFit(set, SVM, TARGET).policy
    expect(policy.classifiers).toEqual(fitPolicy(set, SVM).classifiers)
    expect(policy.calibration!.agreement).toBeGreaterThanOrEqual(TARGET.value)
    expect(policy.calibration!.instances).toBe(120)
    expect(policy.calibration!.mean_layers).toBeLessThan(LAYERS)
  })

  it('says what other questions are to be expected to give, over 20 random splits', () => {
    const options: FitOptions = { kind: 'adainfer-logistic', tokens: 2 }
    const { calibration } = crossFit(traces(), options, TARGET).policy
    const { count, mean_layers: depth, agreement, losses } = calibration!.splits!
    expect([count, losses]).toEqual([20, null])
    for (const spread of [depth, agreement]) expect(spread).toEqual(spread.toSorted((a, b) => a - b))
    expect(depth[0]).toBeLessThan(calibration!.mean_layers)
    expect(depth[2]).toBeGreaterThan(calibration!.mean_layers)
    // Thresholds that just reach the target where they are chosen miss it on some of the questions that had no part in that.
    expect(agreement[0]).toBeLessThan(TARGET.value)
    const again = crossFit(traces(), options, TARGET, { seed: 1 }).policy.calibration!
    expect(again.splits).not.toEqual(calibration!.splits)
    expect(Math.abs(again.mean_layers - calibration!.mean_layers)).toBeLessThan(0.25)
  })

  it('leaves out what it judges: with labels of noise it does not exit where fitting and choosing on the same would', () => {
    const random = createRandomStream(1)
    const noise = tracesOf(
      LAYERS,
      Array.from({ length: 60 }, () => {
        const gap = Array.from({ length: LAYERS }, random)
        return { gap, agree: gap.map((_, l) => Number(l === LAYERS - 1 || random() < 0.5)) }
      }),
    )
    const options: FitOptions = { kind: 'adainfer-svm', kernel: 'rbf', gamma: 500, C: 1000, perLayer: true }
    const same = calibrateThreshold(fitPolicy(noise, options), noise, TARGET)
    const apart = crossFit(noise, options, TARGET).policy
    expect(same.calibration!.mean_layers).toBeLessThan(2.5)
    expect(apart.calibration!.mean_layers).toBeGreaterThan(4)
  })

  it('does not stay at the edge of a cliff, where other questions lose everything', () => {
    // The lowest layers are surer than any other, and always wrong: one margin more or less lets all questions leave there.
    const cliff = (seed: number, count: number): TraceSet => {
      const random = createRandomStream(seed)
      return tracesOf(
        6,
        Array.from({ length: count }, () => {
          const gap = Array.from({ length: 6 }, (_, l) => (l < 2 ? 0.9 + 0.02 * random() : 0.5 + 0.4 * random()))
          return { gap, agree: gap.map((sure, l) => Number(l === 5 || (l === 4 && random() < sure - 0.3))) }
        }),
      )
    }
    for (let seed = 0; seed < 12; seed++) {
      const { policy } = crossFit(cliff(seed, 60), { kind: 'adainfer-svm', features: ['gap'] }, TARGET)
      expect(outcomes(cliff(1000 + seed, 400), policy).agreement).toBeGreaterThan(0.9)
    }
  })

  it('meets mean-layers as it is asked, whatever is lost', () => {
    const { calibration } = crossFit(traces(), SVM, { kind: 'mean-layers', value: 3 }).policy
    expect(calibration).toMatchObject({ target: 'mean-layers', value: 3, reached: true })
    expect(calibration!.mean_layers).toBeLessThanOrEqual(3)
  })

  it('keeps the tokens of a sequence together and needs two prompts a fold', () => {
    const set = traces(40)
    const paired = {
      ...set,
      sequences: 20,
      instances: set.instances.map((x, i) => ({ ...x, sequence: i >> 1, question: String(i >> 1) })),
    }
    expect(crossFit(paired, SVM, TARGET).policy.calibration!.instances).toBe(40)
    expect(() =>
      crossFit(
        selectTraces(paired, (i) => i < 9),
        SVM,
        TARGET,
      ),
    ).toThrow(/at least 10 questions/)
  })
})
