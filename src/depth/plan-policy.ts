import { createHash } from 'node:crypto'
import type { PolicyDefinition } from './definition.js'
import { fixedPlan, PROMPT_KEY } from './fixed-plan.js'
import { loadPlanFile, type PlanFile } from './plan-file.js'

/**
 * The layers that a policy file names. So every rule that chooses layers on calibration data can be run: ShortGPT (arXiv
 * 2403.03853) by block influence, SLEB (arXiv 2402.09025) by the loss that a removal costs.
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
      ...fixedPlan(args, `plan:${path}`, layers, file.layers, modelNotes(path, file, model?.fingerprint)),
      source: createHash('sha256').update(JSON.stringify(file)).digest('hex'),
    }
  },
}

function modelNotes(path: string, { model }: PlanFile, fingerprint: string | null | undefined): string[] {
  if (model.fingerprint === null) {
    return [`${path} does not say for which model it was made; whether its layers suit this one is unknown`]
  }
  if (fingerprint === undefined || fingerprint === null || fingerprint === model.fingerprint) return []
  return [
    `${path} was made for another model (${model.name ?? 'unnamed'}, ${model.fingerprint.slice(0, 12)}); its layers were chosen on that one`,
  ]
}
