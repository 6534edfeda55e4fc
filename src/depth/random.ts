import { createHash } from 'node:crypto'
import type { PolicyDefinition } from './definition.js'
import { fixedPlan, PROMPT_KEY } from './fixed-plan.js'
import type { Plan } from './plan.js'

const SEED = 1

/**
 * `kept` of L layers: the first, the last, and those between whose hash with the seed is lowest, which is an even draw
 * and the same one everywhere. First and last stay because every rule that it is a control for keeps them: leaving out one
 * of them breaks a model by itself, and any other choice of layers would look good beside that.
 */
export function randomPlan(layers: number, kept: number, seed: number): Plan {
  const between = Array.from({ length: Math.max(0, layers - 2) }, (_, i) => ({
    layer: i + 1,
    hash: createHash('sha256')
      .update(`${seed}:${i + 1}`)
      .digest('hex'),
  }))
  const drawn = between.sort((a, b) => (a.hash < b.hash ? -1 : 1)).slice(0, Math.max(0, kept - 2))
  return [...new Set([0, ...drawn.map(({ layer }) => layer), layers - 1])].sort((a, b) => a - b)
}

/** A control for plans of the same size. */
export const random: PolicyDefinition = {
  kind: 'random',
  usage: 'random:N[,seed=S][,prompt=full|plan]',
  summary: 'a plan of N layers drawn with a seed, the first and the last always among them',
  keys: { seed: `of the draw (default ${SEED})`, prompt: PROMPT_KEY },
  examples: ['random:8', 'random:8,seed=2', 'random:2', 'random:5,seed=7,prompt=plan'],
  parse(args, layers) {
    const kept = args.whole('the number of layers, first and last included,', 'random:8', Math.min(2, layers), layers)
    const seed = args.wholeOption('seed', 0) ?? SEED
    const spec = `random:${kept}${seed === SEED ? '' : `,seed=${seed}`}`
    return fixedPlan(args, spec, layers, randomPlan(layers, kept, seed))
  },
}
