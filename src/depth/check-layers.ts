import { type DepthModel, requireLayers } from './definition.js'
import { lensNeeds } from './lens.js'
import type { Measurement } from './measurement.js'
import type { Plan } from './plan.js'
import type { SpecArguments } from './spec-arguments.js'

/** Keys that choose the layers after which an exit policy checks. */
export const CHECK_KEYS = {
  from: 'first layer that is checked (default: found on text where no lens= is given, 0 on the bundled models)',
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

/** What must be known before `readCheckLayers`: where checks may begin, if nothing says so. */
export function checkNeeds(args: SpecArguments): Measurement[] {
  return isFree(args) ? [{ kind: 'first-check' }] : lensNeeds(args)
}

/**
 * Reads `from=`, `every=` and `layers=`. The last layer may be named but is never checked: a token that reaches it is
 * done anyway.
 */
export function readCheckLayers(args: SpecArguments, layers: number, model: DepthModel | undefined): CheckLayers {
  const found = isFree(args) ? (model?.firstCheck?.() ?? 0) : 0
  const from = args.layerOption('from', layers, found)
  const every = args.wholeOption('every', 1) ?? 1
  const list = args.layersOption('layers', layers)
  if (list !== null && (args.has('from') || args.has('every'))) {
    throw args.error('layers= stands instead of from= and every=, not beside them')
  }
  const checks: number[] = []
  if (list !== null) checks.push(...list.filter((layer) => layer < layers - 1))
  else for (let layer = from; layer < layers - 1; layer += every) checks.push(layer)

  let suffix = list === null ? '' : `,layers=${list.join(',')}`
  // 0 goes without saying only where nothing else would be found.
  const says = from !== 0 || (args.has('from') && model?.firstCheck !== undefined && model.firstCheck() !== 0)
  if (list === null && says) suffix += `,from=${from}`
  if (every !== 1) suffix += `,every=${every}`
  return {
    suffix,
    notes:
      checks.length > 0 ? noteOf(found) : ['no layer below the last one is checked, so every token runs all layers'],
    of(count) {
      requireLayers(args.spec, layers, count)
      return checks
    },
  }
}

function noteOf(found: number): string[] {
  if (found === 0) return []
  return [
    `checks begin after layer ${found}: below it a layer of this model that is sure is mostly wrong; from=0 checks there too, and lens= makes lower layers readable`,
  ]
}

/** Whether nothing says where checks begin or how layers are read. */
function isFree(args: SpecArguments): boolean {
  return !['from', 'layers', 'lens'].some((key) => args.has(key))
}
