import type { PolicyDefinition } from './definition.js'
import { requireLayers } from './definition.js'
import type { ExitPolicy } from './policy.js'

/** Fixed early exit: every token stops after the same layer, so nothing has to be checked. */
export const exit: PolicyDefinition = {
  kind: 'exit',
  usage: 'exit:N',
  summary: 'always stop after layer N (depth N + 1)',
  keys: {},
  examples: ['exit:0', 'exit:11', 'exit:15'],
  parse(args, layers): ExitPolicy {
    const last = args.layer(layers, 'exit:11')
    const spec = `exit:${last}`
    return {
      kind: 'exit',
      spec,
      checkLayers: () => [],
      lastLayer(count) {
        requireLayers(spec, layers, count)
        return last
      },
      exits: () => false,
    }
  },
}
