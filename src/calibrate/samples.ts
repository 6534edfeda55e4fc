import type { Scaling } from '../depth/classifier.js'
import type { Label, PolicyFile } from '../depth/policy-file.js'
import { FileError, InputError } from '../errors.js'
import { labelsOf } from './labels.js'
import { equalTo, featureOf, type TraceInstance, type TraceSet } from './traces.js'

/** What a classifier is fitted on: feature rows and labels of 0 and 1. */
export interface Samples {
  /** [n][d]. */
  readonly x: readonly Float64Array[]
  /** [n]. */
  readonly y: Uint8Array
}

export interface GroupedSamples extends Samples {
  /** Which question each sample is of. [n] */
  readonly questions: readonly string[]
}

/** The checked layers of each instance, in order: [instance][check]. */
export interface Chains {
  readonly x: readonly (readonly Float64Array[])[]
  readonly y: readonly Uint8Array[]
  /** [instance] */
  readonly questions: readonly string[]
}

/** What a classifier looks at, and after which layers. */
export type Inputs = Pick<PolicyFile, 'features' | 'tokens' | 'checked_layers'>

/** Inputs of the checked layers of an instance, as `readInputs` gives them online. */
export function inputsOf(traces: TraceSet, instance: TraceInstance, { features, tokens, checked_layers }: Inputs) {
  const columns: ArrayLike<number>[] = features.map((feature) => featureOf(traces, instance, feature))
  for (const token of tokens) columns.push(equalTo(instance.checkTop ?? bestTokensOf(traces, instance), token))
  return checked_layers.map((layer) => Float64Array.from(columns, (column) => column[layer]!))
}

/** The `count` tokens that the last layer gives most often, fewer where there are fewer; a tie goes to the lower id. */
export function frequentTokens(traces: TraceSet, count: number): number[] {
  if (count === 0) return []
  const times = new Map<number, number>()
  for (const instance of traces.instances) {
    const token = bestTokensOf(traces, instance)[traces.layers - 1]!
    times.set(token, (times.get(token) ?? 0) + 1)
  }
  const ordered = [...times].sort(([a, n], [b, m]) => m - n || a - b)
  return ordered.slice(0, count).map(([token]) => token)
}

function bestTokensOf({ path }: TraceSet, { top1 }: TraceInstance): ArrayLike<number> {
  if (top1 === undefined) throw new FileError(path, 'the traces lack top1, the best token of each layer')
  return top1
}

/** Inputs and labels of the checked layers of every instance. */
export function chainsOf(traces: TraceSet, inputs: Inputs, label: Label): Chains {
  const { checked_layers: checked } = inputs
  return {
    x: traces.instances.map((instance) => inputsOf(traces, instance, inputs)),
    y: traces.instances.map((instance) => {
      const labels = labelsOf(label, instance)
      return Uint8Array.from(checked, (layer) => labels[layer]!)
    }),
    questions: traces.instances.map(({ question }) => question),
  }
}

/** All checks of all instances, instance by instance. */
export function pooled({ x, y, questions }: Chains): GroupedSamples {
  return {
    x: x.flat(),
    y: Uint8Array.from(y.flatMap((labels) => Array.from(labels))),
    questions: x.flatMap((rows, i) => rows.map(() => questions[i]!)),
  }
}

/** The samples of one check. */
export function atCheck({ x, y, questions }: Chains, check: number): GroupedSamples {
  return { x: x.map((rows) => rows[check]!), y: Uint8Array.from(y, (labels) => labels[check]!), questions }
}

/** Mean and population deviation of each feature; the deviation of a constant feature counts as 1. */
export function fitScaling(x: readonly Float64Array[]): Scaling {
  const d = x[0]?.length ?? 0
  const mean = Array.from<number>({ length: d }).fill(0)
  const deviation = Array.from<number>({ length: d }).fill(0)
  for (const row of x) for (let i = 0; i < d; i++) mean[i]! += row[i]! / x.length
  for (const row of x) for (let i = 0; i < d; i++) deviation[i]! += (row[i]! - mean[i]!) ** 2 / x.length
  // Below rounding of the mean the feature is constant, and dividing would blow rounding up.
  for (let i = 0; i < d; i++) {
    const root = Math.sqrt(deviation[i]!)
    deviation[i] = root > 1e-12 * Math.abs(mean[i]!) && root > 0 ? root : 1
  }
  return { mean, deviation }
}

export function standardise(x: readonly Float64Array[], { mean, deviation }: Scaling): Float64Array[] {
  return x.map((row) => row.map((value, i) => (value - mean[i]!) / deviation[i]!))
}

/** Weights of label 0 and 1; `balanced` makes both count alike in all: n / (2 n_label). */
export function classWeights(option: 'none' | 'balanced' | readonly [number, number], y: Uint8Array): [number, number] {
  if (option === 'none') return [1, 1]
  if (option !== 'balanced') return [option[0], option[1]]
  const ones = y.reduce((sum, label) => sum + label, 0)
  if (ones === 0 || ones === y.length) return [1, 1]
  return [y.length / (2 * (y.length - ones)), y.length / (2 * ones)]
}

/** The one label that all samples have, or null where there are both. */
export function onlyLabel(y: Uint8Array): 0 | 1 | null {
  if (y.length === 0) throw new InputError('there is nothing to fit: no samples')
  const first = y[0] === 1 ? 1 : 0
  return y.every((label) => label === first) ? first : null
}
