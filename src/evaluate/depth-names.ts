import type { Model } from '../engine/api.js'
import type { DepthName } from './cells.js'

const FULL: DepthName = { name: 'full', policy: null }

/** Full depth first, then the others by their canonical SPEC, each once. Measures what a SPEC needs to know. Throws SpecError. */
export async function depthNames(model: Model, specs: readonly string[], signal?: AbortSignal): Promise<DepthName[]> {
  const names = new Map<string, DepthName>([['full', FULL]])
  for (const spec of specs) {
    const policy = await model.policy(spec, signal === undefined ? {} : { signal })
    if (policy.spec !== 'full') names.set(policy.spec, { name: policy.spec, policy })
  }
  return [...names.values()]
}
