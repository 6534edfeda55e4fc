import { type BridgeSet, lensIn } from './bridge.js'
import { loadedBridges, neededBridges } from './bridge-source.js'
import type { DepthModel } from './definition.js'
import { foreignModelNotes } from './foreign-model.js'
import type { Measurement } from './measurement.js'
import type { ExitPolicy } from './policy.js'
import { rawLensNotes } from './raw-lens.js'
import type { SpecArguments } from './spec-arguments.js'

/** The key of exit policies that names a lens. */
export const LENS_KEY = {
  lens: 'file of a lens (shoal bridge --lens): checks, and what tokens say where they stop, are read through it',
} as const

export interface LensArguments {
  /** Canonical key, `,lens=a.lens.gguf` or empty; to be put behind the others. */
  readonly suffix: string
  readonly notes: readonly string[]
  /** What to say of a threshold that nobody has fitted. */
  readonly generationNotes: readonly string[]
  /** To be spread into the policy. */
  readonly policy: Pick<ExitPolicy, 'lens' | 'source'>
}

/** What must be read before `readLens`. */
export function lensNeeds(args: SpecArguments): Measurement[] {
  const path = args.textOption('lens')
  return path === null ? [] : [neededBridges(path)]
}

/** Reads `lens=`. */
export function readLens(args: SpecArguments, model: DepthModel | undefined): LensArguments {
  const path = args.textOption('lens')
  if (path === null) {
    return { suffix: '', notes: [], generationNotes: rawLensNotes(model?.fingerprint), policy: {} }
  }
  const set = loadedLens(args, model, path)
  return {
    suffix: `,lens=${path}`,
    notes: lensNotes(set, model?.fingerprint),
    generationNotes: [],
    policy: { lens: set.bridges, source: set.source },
  }
}

/** The lens of a file that `needs` has named. Throws SpecError where it holds the bridges of a plan. */
export function loadedLens(args: SpecArguments, model: DepthModel | undefined, path: string): BridgeSet {
  const set = loadedBridges(args, model, path)
  if (!lensIn(set)) throw args.error(`${path} holds bridges of a plan, and no lens; shoal bridge --lens fits one`)
  return set
}

/** What a user should know of a lens on a model. */
export function lensNotes(set: BridgeSet, fingerprint: string | null | undefined): string[] {
  const made = { name: set.modelName, fingerprint: set.model, layers: set.layers }
  return foreignModelNotes(set.path, made, fingerprint, 'its maps were fitted on that one')
}
