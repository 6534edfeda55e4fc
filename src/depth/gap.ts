import { CHECK_KEYS, checkNeeds, readCheckLayers } from './check-layers.js'
import type { PolicyDefinition } from './definition.js'
import { LENS_KEY, readLens } from './lens.js'
import type { ExitPolicy } from './policy.js'

/**
 * Stop where P(top1) - P(top2) of the check exceeds a threshold: the fixed baseline of AdaInfer (arXiv 2403.02181), 0.8
 * there.
 */
export const gap: PolicyDefinition = {
  kind: 'gap',
  usage: 'gap:T[,from=N][,every=N][,lens=FILE] or gap:T,layers=A,B,..',
  summary: 'stop at the first check whose P(top1) - P(top2) is greater than T',
  keys: { ...CHECK_KEYS, ...LENS_KEY },
  examples: ['gap:0.8', 'gap:0.8,from=4,every=2', 'gap:0.5,layers=3,5,7', 'gap:0', 'gap:1'],
  needs: checkNeeds,
  parse(args, layers, model): ExitPolicy {
    const threshold = args.number('the threshold', 'gap:0.8', 0, 1)
    const checks = readCheckLayers(args, layers, model)
    const lens = readLens(args, model)
    return {
      kind: 'exit',
      spec: `gap:${threshold}${checks.suffix}${lens.suffix}`,
      notes: [...checks.notes, ...lens.notes],
      generationNotes: lens.generationNotes,
      ...lens.policy,
      checkLayers: checks.of,
      exits: (check) => check.gap > threshold,
    }
  },
}
