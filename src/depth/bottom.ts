import type { PolicyDefinition } from './definition.js'
import { fixedPlan, PROMPT_KEY } from './fixed-plan.js'
import { allLayers } from './plan.js'

/**
 * The first n layers for every generated token: a control for sets of the same size. Unlike `exit:n-1`, which stops there
 * in the prompt's last row too, it runs the prompt as every skip policy does.
 */
export const bottom: PolicyDefinition = {
  kind: 'bottom',
  usage: 'bottom:N[,prompt=full|plan]',
  summary: 'the plan of the first N layers',
  keys: { prompt: PROMPT_KEY },
  examples: ['bottom:8', 'bottom:1', 'bottom:12,prompt=plan', 'bottom:16'],
  parse(args, layers) {
    const kept = args.whole('the number of layers', 'bottom:8', 1, layers)
    return fixedPlan(args, `bottom:${kept}`, layers, allLayers(kept))
  },
}
