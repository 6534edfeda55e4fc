import { createHash } from 'node:crypto'
import { type PolicyDefinition, requireLayers } from './definition.js'
import { loadDynamicFile, planFor } from './dynamic-file.js'
import { foreignModelNotes } from './foreign-model.js'
import type { Plan } from './plan.js'
import type { SkipPolicy } from './policy.js'

interface State {
  plan: Plan
}

/**
 * Depth per sequence (Dynamic Layer Selection, arXiv 2410.20022): what the model says after the prompt, which runs every
 * layer, picks the plan of all tokens that follow. A sequence whose prompt nobody observed runs the largest plan.
 */
export const dynamic: PolicyDefinition = {
  kind: 'dynamic',
  usage: 'dynamic:FILE',
  summary: 'the prompt picks the plan of its sequence, among those of a policy file',
  keys: {},
  examples: ['dynamic:examples/policies/dynamic.policy.json'],
  parse(args, layers, model) {
    const path = args.text('the policy file', 'dynamic:policy.json')
    const file = loadDynamicFile(path)
    if (file.model.layers !== layers) {
      throw args.error(`${path} was made for a model of ${file.model.layers} layers and this one has ${layers}`)
    }
    const spec = `dynamic:${path}`
    const largest = file.plans.at(-1) as Plan
    const policy: SkipPolicy<State> = {
      kind: 'skip',
      spec,
      source: createHash('sha256').update(JSON.stringify(file)).digest('hex'),
      notes: foreignModelNotes(path, file.model, model?.fingerprint),
      prompt: 'full',
      startSequence: () => ({ plan: largest }),
      observe(pass, state) {
        state.plan = planFor(file, pass)
      },
      plan(info, state) {
        requireLayers(spec, layers, info.layers)
        return state.plan
      },
    }
    return policy as SkipPolicy
  },
}
