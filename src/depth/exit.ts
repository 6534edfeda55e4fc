import type { PolicyDefinition } from './definition.js'
import { requireLayers } from './definition.js'
import { LENS_KEY, lensNeeds, readLens } from './lens.js'
import type { ExitPolicy } from './policy.js'

/** Fixed early exit: every token stops after the same layer, so nothing has to be checked. */
export const exit: PolicyDefinition = {
  kind: 'exit',
  usage: 'exit:N[,lens=FILE]',
  summary: 'always stop after layer N (depth N + 1)',
  keys: LENS_KEY,
  examples: ['exit:0', 'exit:11', 'exit:15'],
  needs: lensNeeds,
  parse(args, layers, model): ExitPolicy {
    const last = args.layer(layers, 'exit:11')
    const lens = readLens(args, model)
    const spec = `exit:${last}${lens.suffix}`
    return {
      kind: 'exit',
      spec,
      notes: lens.notes,
      ...lens.policy,
      checkLayers: () => [],
      lastLayer(count) {
        requireLayers(spec, layers, count)
        return last
      },
      exits: () => false,
    }
  },
}
