import { InputError } from '../errors.js'
import type { Check, PolicyNeeds } from './policy.js'

/**
 * What a classifier may look at after a layer (AdaInfer, arXiv 2403.02181, section 3): `gap` and `top_prob` are the two
 * that the paper keeps; the cosine similarities with the layer before are those it studied and rejected.
 */
export const FEATURE_NAMES = ['gap', 'top_prob', 'entropy', 'cos_attention', 'cos_mlp', 'cos_hidden'] as const

export type FeatureName = (typeof FEATURE_NAMES)[number]

/** Those that a cut-down check head changes: they are of its distribution. */
export const HEAD_FEATURES = ['gap', 'top_prob', 'entropy'] as const satisfies readonly FeatureName[]

/** A cosine with the layer before is 0 at layer 0, where there is none; online and in traces alike. */
export function comparesLayers(feature: FeatureName): boolean {
  return feature === 'cos_attention' || feature === 'cos_mlp' || feature === 'cos_hidden'
}

/** Attention and MLP outputs of the layer before reach a policy only through a check there. */
export function needsCheckBefore(feature: FeatureName): boolean {
  return feature === 'cos_attention' || feature === 'cos_mlp'
}

/** Sublayer outputs of a token's last check. */
export interface LastCheck {
  layer: number
  attention: Float32Array | null
  mlp: Float32Array | null
}

export function featureNeeds(features: readonly FeatureName[]): PolicyNeeds {
  return {
    ...(features.includes('entropy') ? { logits: true } : {}),
    ...(features.includes('cos_hidden') ? { hidden: true } : {}),
    ...(features.some(needsCheckBefore) ? { sublayers: true } : {}),
  }
}

/** Reads features of a check into `out` and remembers in `last` what the next layer's cosines need. */
export function readFeatures(
  features: readonly FeatureName[],
  check: Check,
  last: LastCheck,
  out: Float64Array,
): Float64Array {
  for (const [i, feature] of features.entries()) out[i] = readFeature(feature, check, last)
  if (features.some(needsCheckBefore)) {
    last.layer = check.layer
    last.attention = check.attention
    last.mlp = check.mlp
  }
  return out
}

/**
 * What a classifier is given after a layer: the features, then for each of `tokens` 1 where it is the layer's best and
 * else 0. How sure a layer must be depends on what it says: an answer that shallow layers give to everything is worth less.
 */
export function readInputs(
  features: readonly FeatureName[],
  tokens: readonly number[],
  check: Check,
  last: LastCheck,
  out: Float64Array,
): Float64Array {
  readFeatures(features, check, last, out)
  for (const [i, token] of tokens.entries()) out[features.length + i] = check.top === token ? 1 : 0
  return out
}

function readFeature(feature: FeatureName, check: Check, last: LastCheck): number {
  switch (feature) {
    case 'gap':
      return check.gap
    case 'top_prob':
      return check.topProb
    case 'entropy':
      return check.entropy
    case 'cos_hidden':
      return check.layer === 0 ? 0 : cosine(check.hidden, check.input)
    case 'cos_attention':
    case 'cos_mlp': {
      if (check.layer === 0) return 0
      const before = feature === 'cos_attention' ? last.attention : last.mlp
      if (before === null || last.layer !== check.layer - 1) {
        throw new InputError(`${feature} of layer ${check.layer} needs a check of layer ${check.layer - 1}`)
      }
      return cosine(feature === 'cos_attention' ? check.attention : check.mlp, before)
    }
  }
}

/** Cosine similarity of two vectors of one length, in float64; 0 where one of them is zero. */
export function cosine(a: Float32Array, b: Float32Array): number {
  let dot = 0
  let aa = 0
  let bb = 0
  for (let i = 0; i < a.length; i++) {
    const x = a[i]!
    const y = b[i]!
    dot += x * y
    aa += x * x
    bb += y * y
  }
  return aa === 0 || bb === 0 ? 0 : dot / Math.sqrt(aa * bb)
}
