import { CHECK_KEYS, checkNeeds, readCheckLayers } from './check-layers.js'
import type { PolicyDefinition } from './definition.js'
import { LENS_KEY, readLens } from './lens.js'
import type { ExitPolicy } from './policy.js'

/** Entropies in nats are at most ln V, and no vocabulary comes near to e^20. */
const MOST_NATS = 20

/**
 * Stop where the entropy of the check's distribution is below a threshold (DeeBERT, arXiv 2004.12993, section 3; 0 to
 * 0.7 there, over a handful of classes). Here the distribution is over the vocabulary, and one threshold holds for all
 * layers.
 */
export const entropy: PolicyDefinition = {
  kind: 'entropy',
  usage: 'entropy:H[,from=N][,every=N][,lens=FILE] or entropy:H,layers=A,B,..',
  summary: 'stop at the first check whose entropy is less than H nats',
  keys: { ...CHECK_KEYS, ...LENS_KEY },
  examples: ['entropy:0.3', 'entropy:4.25', 'entropy:4.2,from=4,every=2', 'entropy:4.2,layers=3,5,7', 'entropy:0'],
  needs: checkNeeds,
  parse(args, layers, model): ExitPolicy {
    const threshold = args.number('the threshold in nats', 'entropy:0.3', 0, MOST_NATS)
    const checks = readCheckLayers(args, layers, model)
    const lens = readLens(args, model)
    return {
      kind: 'exit',
      spec: `entropy:${threshold}${checks.suffix}${lens.suffix}`,
      notes: [...checks.notes, ...lens.notes],
      generationNotes: lens.generationNotes,
      ...lens.policy,
      needs: { logits: true },
      checkLayers: checks.of,
      exits: (check) => check.entropy < threshold,
    }
  },
}
