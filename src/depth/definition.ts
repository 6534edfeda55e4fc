import { InputError } from '../errors.js'
import type { Policy } from './policy.js'
import type { SpecArguments } from './spec-arguments.js'

/** What a SPEC is parsed for. */
export interface DepthModel {
  /** L, the number of layers. */
  readonly layers: number
  /** Identifies the weights, where they are known; a policy file made for others says so in its notes. */
  readonly fingerprint?: string | null
}

/** One kind of policy: what the grammar of `--depth` knows of it. */
export interface PolicyDefinition {
  /** The word before the colon. */
  readonly kind: string
  /** Form of the SPEC, for help: `gap:T[,from=N][,every=N]`. */
  readonly usage: string
  /** One line for help. */
  readonly summary: string
  /** Keys that may follow, with their meaning. */
  readonly keys: Readonly<Record<string, string>>
  /** SPECs that fit a model of 16 layers; the common tests run every one. */
  readonly examples: readonly string[]
  /** Keys are known ones already. Throws SpecError where the values do not fit a model of `layers` layers. */
  parse(spec: SpecArguments, layers: number, model?: DepthModel): Policy
}

/** A parsed policy holds layers of the model that it was parsed for; using it with another one is a mistake. */
export function requireLayers(spec: string, parsedFor: number, layers: number): void {
  if (layers === parsedFor) return
  throw new InputError(
    `depth ${JSON.stringify(spec)} was made for a model of ${parsedFor} layers and this one has ${layers}`,
  )
}
