import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, it } from 'vitest'
import type { CrfClassifier, LinearClassifier, RbfClassifier } from '../depth/classifier.js'
import { type Applied, applyPolicy } from './apply.js'
import { type FitOptions, fitPolicy } from './fit.js'
import { readTraces, sliceTraces, type TraceSet } from './traces.js'

// The same data and hyper-parameters through scikit-learn (liblinear, libsvm) and python-crfsuite.

interface Reference {
  split: number
  scaling: { mean: number[]; std: number[] }
  linear_svm: { coef: number[]; intercept: number; decision_test: number[]; accuracy_test: number }
  rbf_svm: { gamma: number; n_support: number; decision_test: number[]; accuracy_test: number }
  logistic: { coef: number[]; intercept: number; accuracy_test: number }
  crf: { c2: number; state: Record<string, number>; transitions: Record<string, number>; marginals_test: number[][] }
}

const path = (name: string): string =>
  fileURLToPath(new URL(`../../test/fixtures/classifiers/${name}`, import.meta.url))
const reference = JSON.parse(readFileSync(path('reference.json'), 'utf8')) as Reference

let traces: TraceSet
let train: TraceSet
let test: TraceSet
beforeAll(async () => {
  traces = await readTraces(path('traces.json'))
  train = sliceTraces(traces, 0, reference.split)
  test = sliceTraces(traces, reference.split)
})

function fitted(options: FitOptions): { policy: ReturnType<typeof fitPolicy>; applied: Applied[] } {
  const policy = fitPolicy(train, options)
  return { policy, applied: applyPolicy(policy, test) }
}

/** Largest absolute difference. */
function distance(found: ArrayLike<number>, wanted: ArrayLike<number>): number {
  expect(found.length).toBe(wanted.length)
  return Array.from(wanted, (value, i) => Math.abs(value - found[i]!)).reduce((a, b) => Math.max(a, b), 0)
}

const decisions = (applied: Applied[]): number[] => applied.flatMap(({ decision }) => Array.from(decision))

/** Share of samples on the right side of the boundary. */
function accuracy(values: readonly number[], boundary: number): number {
  const labels = test.instances.flatMap(({ agree }) => Array.from(agree.slice(0, -1)))
  return values.filter((value, i) => value > boundary === (labels[i] === 1)).length / values.length
}

describe('against scikit-learn and python-crfsuite', () => {
  it('linear SVM: decision values and weights', () => {
    const { policy, applied } = fitted({ kind: 'adainfer-svm' })
    const { scaling, weights, intercept } = policy.classifiers[0] as LinearClassifier
    expect(distance(scaling.mean, reference.scaling.mean)).toBeLessThan(1e-12)
    expect(distance(scaling.deviation, reference.scaling.std)).toBeLessThan(1e-12)
    expect(
      distance([...weights, intercept], [...reference.linear_svm.coef, reference.linear_svm.intercept]),
    ).toBeLessThan(1e-4)
    expect(distance(decisions(applied), reference.linear_svm.decision_test)).toBeLessThan(1e-3)
    expect(accuracy(decisions(applied), 0)).toBe(reference.linear_svm.accuracy_test)
  })

  it('RBF SVM: decision values and support vectors', () => {
    const { policy, applied } = fitted({ kind: 'adainfer-svm', kernel: 'rbf', gamma: reference.rbf_svm.gamma })
    const [classifier] = policy.classifiers
    expect((classifier as RbfClassifier).coefficients).toHaveLength(reference.rbf_svm.n_support)
    expect(distance(decisions(applied), reference.rbf_svm.decision_test)).toBeLessThan(1e-3)
    expect(accuracy(decisions(applied), 0)).toBe(reference.rbf_svm.accuracy_test)
  })

  it('logistic regression: weights', () => {
    const { policy, applied } = fitted({ kind: 'adainfer-logistic' })
    const { weights, intercept } = policy.classifiers[0] as LinearClassifier
    expect(distance([...weights, intercept], [...reference.logistic.coef, reference.logistic.intercept])).toBeLessThan(
      1e-5,
    )
    expect(accuracy(decisions(applied), 0.5)).toBe(reference.logistic.accuracy_test)
  })

  it('CRF: weights and marginals', () => {
    const { policy, applied } = fitted({ kind: 'adainfer-crf' })
    const { state, transitions } = policy.classifiers[0] as CrfClassifier
    const { state: s, transitions: t } = reference.crf
    const wanted = [s['gap->0']!, s['top->0']!, s['bias->0']!, s['gap->1']!, s['top->1']!, s['bias->1']!]
    expect(distance(state.flat(), wanted)).toBeLessThan(1e-3)
    expect(distance(transitions.flat(), [t['0->0']!, t['0->1']!, t['1->0']!, t['1->1']!])).toBeLessThan(1e-3)
    for (const [i, { smoothed }] of applied.entries()) {
      expect(distance(smoothed!, reference.crf.marginals_test[i]!)).toBeLessThan(1e-3)
    }
  })
})
