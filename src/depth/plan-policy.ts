import { createHash } from 'node:crypto'
import type { PolicyDefinition } from './definition.js'
import { fixedPlan, PROMPT_KEY } from './fixed-plan.js'
import { foreignModelNotes } from './foreign-model.js'
import { loadPlanFile } from './plan-file.js'

/**
 * The layers that a policy file names: those of a search (`shoal search`), or an imported list.
 */
export const plan: PolicyDefinition = {
  kind: 'plan',
  usage: 'plan:FILE[,prompt=full|plan]',
  summary: 'the layers that a policy file names',
  keys: { prompt: PROMPT_KEY },
  examples: ['plan:examples/policies/shortgpt.policy.json', 'plan:examples/policies/shortgpt.policy.json,prompt=plan'],
  parse(args, layers, model) {
    const path = args.text('the policy file', 'plan:policy.json')
    const file = loadPlanFile(path)
    if (file.model.layers !== layers) {
      throw args.error(`${path} was made for a model of ${file.model.layers} layers and this one has ${layers}`)
    }
    return {
      ...fixedPlan(args, `plan:${path}`, layers, file.layers, foreignModelNotes(path, file.model, model?.fingerprint)),
      source: createHash('sha256').update(JSON.stringify(file)).digest('hex'),
    }
  },
}
