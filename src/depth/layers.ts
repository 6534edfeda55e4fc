import type { PolicyDefinition } from './definition.js'
import { fixedPlan, PROMPT_KEY } from './fixed-plan.js'

/** The layers that the user names. */
export const layers: PolicyDefinition = {
  kind: 'layers',
  usage: 'layers:A,B,..[,prompt=full|plan]',
  summary: 'the plan of these layers, counted from 0',
  keys: { prompt: PROMPT_KEY },
  examples: ['layers:0,2,5', 'layers:0,1,2,3,12,13,14,15,prompt=plan', 'layers:0'],
  parse(args, count) {
    const plan = args.layerList(count, 'layers:0,2,5')
    return fixedPlan(args, `layers:${plan.join(',')}`, count, plan)
  },
}
