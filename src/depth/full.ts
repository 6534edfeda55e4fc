import { type PolicyDefinition, requireLayers } from './definition.js'
import { allLayers } from './plan.js'
import type { SkipPolicy } from './policy.js'

/** Every layer for every token. */
export const full: PolicyDefinition = {
  kind: 'full',
  usage: 'full',
  summary: 'every layer',
  keys: {},
  examples: ['full'],
  parse(args, layers): SkipPolicy {
    args.noValue()
    const plan = allLayers(layers)
    return {
      kind: 'skip',
      spec: 'full',
      prompt: 'full',
      everyToken: plan,
      plan(info) {
        requireLayers('full', layers, info.layers)
        return plan
      },
    }
  },
}
