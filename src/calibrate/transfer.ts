import { needsCheckBefore } from '../depth/exit-features.js'
import type { PolicyFile } from '../depth/policy-file.js'
import { InputError } from '../errors.js'

/** What of a policy decides which layers it checks in a model of another number of layers. */
export type Checks = Pick<PolicyFile, 'kind' | 'features' | 'checked_layers' | 'per_layer'>

/**
 * The layers of a model of `to` layers that stand at the relative depth of a policy's checked layers, of `from`: layer l
 * of L is (l + 1) / L deep. A policy that checks all layers but the last does so there too.
 * @throws InputError where this makes no sense: a CRF with weights per layer is one chain over its own checks; several
 * checked layers may fall onto one; the cosines with the layer before need it to be checked
 */
export function transferChecks(checks: Checks, from: number, to: number): readonly number[] {
  const { kind, features, checked_layers: own, per_layer: perLayer } = checks
  if (from === to) return own
  const refuse = (reason: string): InputError =>
    new InputError(`a policy for ${from} layers cannot serve a model of ${to}: ${reason}`)
  if (perLayer && kind === 'adainfer-crf') {
    throw refuse('a CRF with weights per layer is one chain over its own layers')
  }
  if (own.length === from - 1) return Array.from({ length: to - 1 }, (_, layer) => layer)
  const checked = own.map((layer) => Math.min(to - 2, Math.max(0, Math.round(((layer + 1) * to) / from) - 1)))
  if (new Set(checked).size < checked.length) {
    throw refuse(`its ${own.length} checked layers fall onto ${new Set(checked).size}`)
  }
  const alone = checked.find((layer) => layer > 0 && !checked.includes(layer - 1))
  if (features.some(needsCheckBefore) && alone !== undefined) {
    throw refuse(`cos_attention and cos_mlp of layer ${alone} need a check of layer ${alone - 1}`)
  }
  return checked
}

/**
 * A policy for a model of `layers` layers: a classifier for all layers stays as it is, of those per layer each checked
 * layer takes the one that is nearest by relative depth. What was measured on the first model goes.
 */
export function transferPolicy(policy: PolicyFile, layers: number): PolicyFile {
  const from = policy.model.layers
  if (from === layers) return policy
  if (policy.lens !== null)
    throw new InputError(`a policy with a lens cannot serve a model of ${layers} layers, which is not the lens's`)
  const checked = transferChecks(policy, from, layers)
  const nearest = (layer: number): number => {
    const distances = policy.checked_layers.map((own) => Math.abs((own + 1) / from - (layer + 1) / layers))
    return distances.indexOf(Math.min(...distances))
  }
  return {
    ...policy,
    model: { ...policy.model, layers },
    checked_layers: checked,
    classifiers: policy.per_layer ? checked.map((layer) => policy.classifiers[nearest(layer)]!) : policy.classifiers,
    calibration: null,
    bound: null,
  }
}
