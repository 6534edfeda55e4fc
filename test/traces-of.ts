import type { TraceSet } from '../src/calibrate/traces.js'
import type { PolicyFile } from '../src/depth/policy-file.js'

// Small traces and policies for tests.

interface Given {
  readonly gap: readonly number[]
  readonly agree: readonly number[]
  readonly correct?: readonly number[]
  readonly sequence?: number
}

export function tracesOf(layers: number, instances: readonly Given[]): TraceSet {
  const sequences = new Set(instances.map(({ sequence }, i) => sequence ?? i)).size
  return {
    path: 'traces.json',
    layers,
    unit: sequences < instances.length ? 'generated' : 'answer',
    checkTokens: null,
    lens: null,
    model: null,
    prompts: null,
    sequences,
    instances: instances.map(({ gap, agree, correct, sequence }, i) => ({
      task: 'task',
      sequence: sequence ?? i,
      question: String(sequence ?? i),
      features: { gap: Float64Array.from(gap), top_prob: Float64Array.from(gap) },
      agree: Uint8Array.from(agree),
      correct: correct === undefined ? null : Uint8Array.from(correct),
    })),
  }
}

/** A policy whose online value is the gap itself. */
export function gapPolicy(layers: number, checked: readonly number[]): PolicyFile {
  return {
    format: 'shoal-policy',
    version: 1,
    kind: 'adainfer-svm',
    created: '2026-01-31T12:00:00Z',
    model: { name: null, fingerprint: null, layers },
    features: ['gap'],
    lens: null,
    tokens: [],
    check_tokens: null,
    label: 'agreement',
    checked_layers: checked,
    per_layer: false,
    parameters: { kernel: 'linear', C: 1 },
    class_weights: [1, 1],
    classifiers: [{ type: 'linear', scaling: { mean: [0], deviation: [1] }, weights: [1], intercept: 0 }],
    threshold: 0,
    training: { instances: 1, samples: 1, positive: 0.5, tasks: ['task'], unit: 'answer' },
    prompts: null,
    calibration: null,
    bound: null,
  }
}
