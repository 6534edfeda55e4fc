import { createHash } from 'node:crypto'
import { bridgesOf } from './bridge.js'
import { isGguf, loadedBridges, neededBridges } from './bridge-source.js'
import type { DepthModel, PolicyDefinition } from './definition.js'
import { fixedPlan, PROMPT_KEY } from './fixed-plan.js'
import { foreignModelNotes } from './foreign-model.js'
import { loadPlanFile } from './plan-file.js'
import type { SkipPolicy } from './policy.js'
import type { SpecArguments } from './spec-arguments.js'

/**
 * The layers that a file names: those of a search (`shoal search`), an imported list, or those that a file of bridges is for
 * (`shoal bridge`), which then run with their bridges.
 */
export const plan: PolicyDefinition = {
  kind: 'plan',
  usage: 'plan:FILE[,prompt=full|plan]',
  summary: 'the plan of a policy file, or of a file of bridges with its bridges over the gaps',
  keys: { prompt: PROMPT_KEY },
  examples: ['plan:examples/policies/shortgpt.policy.json', 'plan:examples/policies/shortgpt.policy.json,prompt=plan'],
  needs(args) {
    const path = pathOf(args)
    return isGguf(path) ? [neededBridges(path)] : []
  },
  parse(args, layers, model) {
    const path = pathOf(args)
    if (isGguf(path)) return bridged(args, path, layers, model)
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

function pathOf(args: SpecArguments): string {
  return args.text('the policy file', 'plan:policy.json')
}

function bridged(args: SpecArguments, path: string, layers: number, model: DepthModel | undefined): SkipPolicy {
  const set = loadedBridges(args, model, path)
  const { plan, bridges } = set
  if (plan === null) throw args.error(`${path} holds a lens, and no plan; calibrate and trace take it`)
  const made = { name: set.modelName, fingerprint: set.model, layers: set.layers }
  return {
    ...fixedPlan(args, `plan:${path}`, layers, plan, foreignModelNotes(path, made, model?.fingerprint)),
    bridges: bridgesOf(bridges, plan, layers),
    source: set.source,
  }
}
