import { InputError } from '../errors.js'
import type { BridgeSet } from './bridge.js'
import type { LayerOrderRule, Measurement, StepCosts } from './measurement.js'
import type { Policy } from './policy.js'
import type { SpecArguments } from './spec-arguments.js'

/** What a SPEC is parsed for. */
export interface DepthModel {
  /** L, the number of layers. */
  readonly layers: number
  /** Identifies the weights, where they are known; a policy file made for others says so in its notes. */
  readonly fingerprint?: string | null
  /** What a step of `batch` sequences costs; absent where no model is loaded. Knows what the SPEC's `needs` named. */
  readonly costs?: (batch: number) => StepCosts
  /** All layers in the order in which a rule takes them out, the first to go first; absent where no model is loaded. */
  readonly order?: (rule: LayerOrderRule, data: string | null) => readonly number[]
  /** The lowest layer from which on the model's own head can be believed, null before that was measured; absent where no model is loaded. */
  readonly firstCheck?: () => number | null
  /** The bridges of a file; absent where no model is loaded. */
  readonly bridges?: (path: string) => BridgeSet
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
  /**
   * What must be measured before `parse`, where a model is loaded. Keys are known ones already. Throws SpecError where a
   * value is wrong whatever the measurement says: nobody should wait for one to hear of that.
   */
  needs?(spec: SpecArguments, layers: number): readonly Measurement[]
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
