import type { Scaling } from '../depth/classifier.js'
import type { FeatureName } from '../depth/exit-features.js'
import type { Label } from '../depth/policy-file.js'
import { InputError } from '../errors.js'
import { labelsOf } from './labels.js'
import { featureOf, type TraceSet } from './traces.js'

/** What a classifier is fitted on: feature rows and labels of 0 and 1. */
export interface Samples {
  /** [n][d]. */
  readonly x: readonly Float64Array[]
  /** [n]. */
  readonly y: Uint8Array
}

/** The checked layers of each instance, in order: [instance][check]. */
export interface Chains {
  readonly x: readonly (readonly Float64Array[])[]
  readonly y: readonly Uint8Array[]
}

/** Features and labels of the checked layers of every instance. */
export function chainsOf(
  traces: TraceSet,
  features: readonly FeatureName[],
  label: Label,
  checked: readonly number[],
): Chains {
  return {
    x: traces.instances.map((instance) => {
      const columns = features.map((feature) => featureOf(traces, instance, feature))
      return checked.map((layer) => Float64Array.from(columns, (column) => column[layer]!))
    }),
    y: traces.instances.map((instance) => {
      const labels = labelsOf(label, instance)
      return Uint8Array.from(checked, (layer) => labels[layer]!)
    }),
  }
}

/** All checks of all instances, instance by instance. */
export function pooled({ x, y }: Chains): Samples {
  return { x: x.flat(), y: Uint8Array.from(y.flatMap((labels) => Array.from(labels))) }
}

/** The samples of one check. */
export function atCheck({ x, y }: Chains, check: number): Samples {
  return { x: x.map((rows) => rows[check]!), y: Uint8Array.from(y, (labels) => labels[check]!) }
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
