import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { tracesOf } from '../../test/traces-of.js'
import type { CrfClassifier, LinearClassifier } from '../depth/classifier.js'
import { parsePolicyFile } from '../depth/policy-file.js'
import { createRandomStream } from '../engine/schedule/random-stream.js'
import { applyPolicy } from './apply.js'
import { explainPolicy } from './explain.js'
import { type FitOptions, fitPolicy } from './fit.js'
import { minimise } from './lbfgs.js'
import { fitLinearSvm } from './linear-svm.js'
import { policyText } from './policy-write.js'
import { fitRbfSvm } from './rbf-svm.js'
import { classWeights, fitScaling } from './samples.js'

const LAYERS = 6

/** Instances whose gap rises over the layers, and whose agreement follows the gap. */
function traces(count = 60, seed = 5): ReturnType<typeof tracesOf> {
  const random = createRandomStream(seed)
  return tracesOf(
    LAYERS,
    Array.from({ length: count }, () => {
      const hard = random()
      const gap = Array.from({ length: LAYERS }, (_, l) =>
        Math.min(1, Math.max(0, (l + random()) / LAYERS - 0.4 * hard)),
      )
      return { gap, agree: gap.map((g, l) => (l === LAYERS - 1 || random() < g ? 1 : 0)) }
    }),
  )
}

const KINDS: FitOptions[] = [
  { kind: 'adainfer-svm' },
  { kind: 'adainfer-svm', kernel: 'rbf', gamma: 2, C: 10 },
  { kind: 'adainfer-logistic', classWeight: 'balanced' },
  { kind: 'adainfer-crf' },
]

describe.each(KINDS)('%j', (options) => {
  it.each([{}, { perLayer: true }, { layers: [1, 3, 4], label: 'stable' }] as const)(
    'fits with %j, and its file is read back',
    (more) => {
      const policy = fitPolicy(traces(), { ...options, ...more })
      expect(parsePolicyFile('p.json', policyText(policy))).toEqual(policy)
      const checks = policy.checked_layers.length
      expect(policy.classifiers).toHaveLength('perLayer' in more ? checks : 1)
      for (const { decision, exit } of applyPolicy(policy, traces(10, 6))) {
        expect(decision).toHaveLength(checks)
        const fires = policy.checked_layers.find((_, i) => decision[i]! > policy.threshold!)
        expect(exit).toBe(fires ?? LAYERS - 1)
      }
      for (const line of explainPolicy(policy)) expect(line).not.toMatch(/undefined|NaN|\n/)
    },
  )

  it('is the same each time', () => {
    const created = new Date(0)
    expect(fitPolicy(traces(), { ...options, created })).toEqual(fitPolicy(traces(), { ...options, created }))
  })

  it('refuses traces of another model', () => {
    const policy = fitPolicy(traces(), options)
    expect(() => applyPolicy(policy, tracesOf(3, [{ gap: [0, 0, 0], agree: [0, 0, 1] }]))).toThrow(
      'traces.json: the traces have 3 layers and the policy is for 6',
    )
  })
})

describe('a CRF online', () => {
  it.each([{}, { perLayer: true }, { layers: [0, 2, 4] }, { layers: [3] }])(
    'equals the full marginal at the last checked layer: %j',
    (more) => {
      const policy = fitPolicy(traces(), { kind: 'adainfer-crf', ...more })
      for (const { decision, smoothed } of applyPolicy(policy, traces(20, 9))) {
        expect(decision.at(-1)).toBeCloseTo(smoothed!.at(-1)!, 10)
      }
    },
  )

  it('is the marginal of the chain that is cut after the layer', () => {
    const [first] = applyPolicy(fitPolicy(traces(), { kind: 'adainfer-crf' }), traces(1, 9))
    const { classifiers } = fitPolicy(traces(), { kind: 'adainfer-crf' })
    for (const checks of [1, 2, 3, 4]) {
      const layers = Array.from({ length: checks }, (_, l) => l)
      const cut = { ...fitPolicy(traces(), { kind: 'adainfer-crf', layers }), classifiers }
      const [shorter] = applyPolicy(cut, traces(1, 9))
      expect(shorter!.smoothed!.at(-1)).toBeCloseTo(first!.decision[checks - 1]!, 10)
    }
  })

  it('is trained on exactly the checked layers: other layers do not matter', () => {
    const base = traces()
    const layers = [1, 3]
    const changed = {
      ...base,
      instances: base.instances.map((instance) => ({
        ...instance,
        features: { ...instance.features, gap: instance.features.gap!.map((g, l) => (layers.includes(l) ? g : 0.123)) },
      })),
    }
    const fitOf = (set: typeof base): unknown =>
      fitPolicy(set, { kind: 'adainfer-crf', features: ['gap'], layers, created: new Date(0) })
    expect(fitOf(changed)).toEqual(fitOf(base))
  })

  it('has a gradient of zero at its weights', () => {
    const set = traces(30)
    const policy = fitPolicy(set, { kind: 'adainfer-crf', c2: 0.5 })
    const loss = (classifier: CrfClassifier): number => {
      let value = 0.5 * [...classifier.state.flat(), ...classifier.transitions.flat()].reduce((s, w) => s + w * w, 0)
      for (const { features, agree } of set.instances) {
        const states = policy.checked_layers.map((l) =>
          classifier.state.map(([g, t, b]) => g! * features.gap![l]! + t! * features.top_prob![l]! + b!),
        )
        let alpha = states[0]!.map(Math.exp)
        value -= states[0]![agree[0]!]!
        for (let l = 1; l < LAYERS - 1; l++) {
          alpha = [0, 1].map(
            (y) =>
              Math.exp(states[l]![y]!) * alpha.reduce((s, a, x) => s + a * Math.exp(classifier.transitions[x]![y]!), 0),
          )
          value -= states[l]![agree[l]!]! + classifier.transitions[agree[l - 1]!]![agree[l]!]!
        }
        value += Math.log(alpha[0]! + alpha[1]!)
      }
      return value
    }
    const best = policy.classifiers[0] as CrfClassifier
    const nudge = (
      step: number,
      at: (copy: { state: number[][]; transitions: number[][] }) => number[],
      i: number,
    ): number => {
      const copy = structuredClone(best) as unknown as { state: number[][]; transitions: number[][] }
      at(copy)[i]! += step
      return loss(copy as unknown as CrfClassifier)
    }
    for (const label of [0, 1]) {
      for (const i of [0, 1, 2]) {
        const slope = (nudge(1e-4, (c) => c.state[label]!, i) - nudge(-1e-4, (c) => c.state[label]!, i)) / 2e-4
        expect(Math.abs(slope)).toBeLessThan(1e-5)
      }
      for (const i of [0, 1]) {
        const slope =
          (nudge(1e-4, (c) => c.transitions[label]!, i) - nudge(-1e-4, (c) => c.transitions[label]!, i)) / 2e-4
        expect(Math.abs(slope)).toBeLessThan(1e-5)
      }
    }
  })
})

describe('what cannot be fitted', () => {
  const same = tracesOf(
    4,
    Array.from({ length: 5 }, (_, i) => ({ gap: [0, i, 1, 1], agree: [1, 1, 1, 1] })),
  )

  it('one label only: refused for all layers, constant for a layer of its own', () => {
    expect(() => fitPolicy(same, { kind: 'adainfer-svm' })).toThrow('there is nothing to fit: every sample has label 1')
    for (const kind of ['adainfer-svm', 'adainfer-logistic'] as const) {
      const policy = fitPolicy(same, { kind, perLayer: true })
      for (const { exit } of applyPolicy(policy, same)) expect(exit).toBe(0)
    }
  })

  it.each([
    [{ kind: 'adainfer-crf', C: 1 }, /C is not an option of adainfer-crf/],
    [{ kind: 'adainfer-crf', classWeight: 'balanced' }, /class-weight is not an option of adainfer-crf/],
    [{ kind: 'adainfer-svm', gamma: 1 }, /gamma is an option of kernel=rbf/],
    [{ kind: 'adainfer-logistic', kernel: 'rbf' }, /kernel is not an option of adainfer-logistic/],
    [{ kind: 'adainfer-svm', c2: 1 }, /c2 is not an option of adainfer-svm/],
    [{ kind: 'adainfer-svm', C: 0 }, /C must be greater than 0/],
    [{ kind: 'adainfer-svm', layers: [3, 1] }, /ascending, from 0 to 4/],
    [{ kind: 'adainfer-svm', layers: [5] }, /ascending, from 0 to 4/],
    [{ kind: 'adainfer-svm', features: ['gap', 'gap'] }, /without repetitions/],
    [{ kind: 'adainfer-svm', features: ['entropy'] }, /lack the feature entropy/],
    [{ kind: 'adainfer-svm', label: 'correctness' }, /needs traces with the gold answer/],
  ] as [FitOptions, RegExp][])('%j', (options, message) => {
    expect(() => fitPolicy(traces(), options)).toThrow(message)
  })
})

describe('SVMs', () => {
  const problem = fc
    .tuple(
      fc.integer({ min: 4, max: 40 }),
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 1, max: 1e6 }),
      fc.constantFrom(0.01, 1, 30),
    )
    .map(([n, d, seed, C]) => {
      const random = createRandomStream(seed)
      const x = Array.from({ length: n }, () => Float64Array.from({ length: d }, () => 3 * random() - 1.5))
      const y = Uint8Array.from(x, (row, i) => (i === 0 ? 1 : i === 1 ? 0 : row[0]! + random() - 0.5 > 0 ? 1 : 0))
      return { samples: { x, y }, C }
    })

  it('linear: no weights near by cost less, and a wrong label costs as its weight says', () => {
    fc.assert(
      fc.property(problem, fc.constantFrom([1, 1] as const, [1, 4] as const), ({ samples: { x, y }, C }, weights) => {
        const cost = (w: readonly number[], b: number): number =>
          0.5 * (w.reduce((s, v) => s + v * v, 0) + b * b) +
          x.reduce((sum, row, i) => {
            const margin = (y[i] === 1 ? 1 : -1) * (row.reduce((s, v, k) => s + v * w[k]!, 0) + b)
            return sum + C * weights[y[i] === 1 ? 1 : 0] * Math.max(0, 1 - margin)
          }, 0)
        const found = fitLinearSvm({ x, y }, { C, weights })
        const least = cost(found.weights, found.intercept)
        const random = createRandomStream(1)
        for (let trial = 0; trial < 40; trial++) {
          const size = 10 ** (-4 * random())
          const near = found.weights.map((v) => v + size * (random() - 0.5))
          expect(cost(near, found.intercept + size * (random() - 0.5))).toBeGreaterThanOrEqual(
            least - 1e-8 * (1 + least),
          )
        }
      }),
      { numRuns: 40 },
    )
  })

  it('RBF: every sample meets the optimality conditions', () => {
    fc.assert(
      fc.property(problem, ({ samples: { x, y }, C }) => {
        const { vectors, coefficients, intercept } = fitRbfSvm({ x, y }, { C, gamma: 1, weights: [1, 1] })
        expect(coefficients.reduce((s, c) => s + c, 0)).toBeCloseTo(0, 6)
        const alphaOf = new Map(vectors.map((v, i) => [v.join(), Math.abs(coefficients[i]!)]))
        for (const [i, row] of x.entries()) {
          const value = vectors.reduce((sum, v, k) => {
            const distance = v.reduce((s, a, q) => s + (a - row[q]!) ** 2, 0)
            return sum + coefficients[k]! * Math.exp(-distance)
          }, intercept)
          const margin = (y[i] === 1 ? 1 : -1) * value
          const alpha = alphaOf.get(Array.from(row).join()) ?? 0
          if (alpha === 0) expect(margin).toBeGreaterThan(1 - 1e-3)
          else if (alpha >= C) expect(margin).toBeLessThan(1 + 1e-3)
          else expect(margin).toBeCloseTo(1, 3)
        }
      }),
      { numRuns: 40 },
    )
  })
})

describe('samples', () => {
  it('are standardised by the population deviation; a constant feature stays', () => {
    const rows = [1, 2, 3].map((v) => Float64Array.of(v, 0.3))
    const { mean, deviation } = fitScaling(rows)
    expect(mean[0]).toBeCloseTo(2, 12)
    expect(deviation[0]).toBeCloseTo(Math.sqrt(2 / 3), 12)
    expect(deviation[1]).toBe(1)
  })

  it('balanced weights make both labels count alike', () => {
    expect(classWeights('balanced', Uint8Array.of(1, 0, 0, 0))).toEqual([2 / 3, 2])
    expect(classWeights('balanced', Uint8Array.of(1, 1))).toEqual([1, 1])
    expect(classWeights([1, 3], Uint8Array.of(1, 0))).toEqual([1, 3])
  })
})

describe('L-BFGS', () => {
  it('finds the bottom of a narrow valley', () => {
    const { x, converged } = minimise(([a, b], gradient) => {
      gradient[0] = 2 * (a! - 3) + 400 * (a! - b!)
      gradient[1] = -400 * (a! - b!)
      return (a! - 3) ** 2 + 200 * (a! - b!) ** 2
    }, new Float64Array(2))
    expect(converged).toBe(true)
    expect([...x].map((v) => Math.round(v * 1e6) / 1e6)).toEqual([3, 3])
  })
})

describe('class weights and kinds', () => {
  it('a heavier label 1 moves the boundary towards exits', () => {
    const at = (weight: number): number => {
      const policy = fitPolicy(traces(), { kind: 'adainfer-logistic', classWeight: [1, weight] })
      return (policy.classifiers[0] as LinearClassifier).intercept
    }
    expect(at(3)).toBeGreaterThan(at(1))
    expect(fitPolicy(traces(), { kind: 'adainfer-svm', classWeight: [1, 3] }).class_weights).toEqual([1, 3])
  })
})
