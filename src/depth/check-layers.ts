import { requireLayers } from './definition.js'
import type { Plan } from './policy.js'
import type { SpecArguments } from './spec-arguments.js'

/** Keys that choose the layers after which an exit policy checks. */
export const CHECK_KEYS = {
  from: 'first layer that is checked (default 0)',
  every: 'check every so many layers (default 1)',
  layers: 'the layers that are checked, instead of from= and every=',
} as const

export interface CheckLayers {
  /** Canonical keys, `,from=4,every=2` or empty; to be put behind the value. */
  readonly suffix: string
  readonly notes: readonly string[]
  /** For `ExitPolicy.checkLayers`. */
  readonly of: (layers: number) => Plan
}

/**
 * Reads `from=`, `every=` and `layers=`. The last layer may be named but is never checked: a token that reaches it is
 * done anyway.
 */
export function readCheckLayers(args: SpecArguments, layers: number): CheckLayers {
  const from = args.layerOption('from', layers, 0)
  const every = args.wholeOption('every', 1) ?? 1
  const list = args.layersOption('layers', layers)
  if (list !== null && (args.has('from') || args.has('every'))) {
    throw args.error('layers= stands instead of from= and every=, not beside them')
  }
  const checks: number[] = []
  if (list !== null) checks.push(...list.filter((layer) => layer < layers - 1))
  else for (let layer = from; layer < layers - 1; layer += every) checks.push(layer)

  let suffix = list === null ? '' : `,layers=${list.join(',')}`
  if (from !== 0) suffix += `,from=${from}`
  if (every !== 1) suffix += `,every=${every}`
  return {
    suffix,
    notes: checks.length > 0 ? [] : ['no layer below the last one is checked, so every token runs all layers'],
    of(count) {
      requireLayers(args.spec, layers, count)
      return checks
    },
  }
}
