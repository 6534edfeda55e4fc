import { CHECK_KEYS, checkNeeds, readCheckLayers } from './check-layers.js'
import type { PolicyDefinition } from './definition.js'
import { requireLayers } from './definition.js'
import { LENS_KEY, readLens } from './lens.js'
import type { ExitPolicy } from './policy.js'

/** The best token of a token's last check, and how many checks in a row have named it. */
interface Agreement {
  top: number
  checks: number
}

/**
 * Stop when so many checks in a row name the same best token (PABEE, arXiv 2006.04152, section 3; patience 3 to 8
 * there). The paper counts agreements with the check before, of which k checks in a row make k - 1.
 */
export const patience: PolicyDefinition = {
  kind: 'patience',
  usage: 'patience:K[,from=N][,every=N][,lens=FILE] or patience:K,layers=A,B,..',
  summary: 'stop when K checks in a row name the same best token; 0: every layer',
  keys: { ...CHECK_KEYS, ...LENS_KEY },
  examples: ['patience:3', 'patience:2,from=2,every=2', 'patience:2,layers=3,5,9', 'patience:1', 'patience:0'],
  needs: checkNeeds,
  parse(args, layers, model): ExitPolicy<undefined, Agreement> {
    const wanted = args.whole('the number of checks', 'patience:3', 0)
    const checks = readCheckLayers(args, layers, model)
    const lens = readLens(args, model)
    const spec = `patience:${wanted}${checks.suffix}${lens.suffix}`
    const checked = checks.of(layers)
    const possible = wanted > 0 && wanted <= checked.length
    const notes = [...checks.notes, ...lens.notes]
    if (!possible && checked.length > 0) {
      notes.push(
        wanted === 0
          ? 'patience:0 stops nowhere, so every token runs all layers'
          : `${checked.length} layers are checked, so ${wanted} checks in a row cannot agree and every token runs all layers`,
      )
    }
    return {
      kind: 'exit',
      spec,
      notes,
      generationNotes: lens.generationNotes,
      ...lens.policy,
      checkLayers(count) {
        requireLayers(spec, layers, count)
        return possible ? checked : []
      },
      startToken: () => ({ top: -1, checks: 0 }),
      exits({ top }, token) {
        token.checks = top === token.top ? token.checks + 1 : 1
        token.top = top
        return token.checks >= wanted
      },
    }
  },
}
