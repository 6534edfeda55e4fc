import type { Policy } from '../depth/policy.js'
import { parseDepth } from '../depth/spec.js'
import type { Model } from '../engine/api.js'
import type { DepthName } from './cells.js'

const FULL: DepthName = { name: 'full', policy: null }

/** Full depth first, then the others by their canonical SPEC, each once. Throws SpecError. */
export function depthNames(model: Model, specs: readonly string[]): DepthName[] {
  const names = new Map<string, DepthName>([['full', FULL]])
  for (const spec of specs) {
    const policy: Policy = parseDepth(spec, { layers: model.hyperparameters.layers, fingerprint: model.fingerprint })
    if (policy.spec !== 'full') names.set(policy.spec, { name: policy.spec, policy })
  }
  return [...names.values()]
}
