import type { Sequence } from '../cache/sequence.js'
import type { Climber } from '../plan/climber.js'
import type { TokenDepth } from '../plan/token-depth.js'
import type { LoadedBridge } from './bridges/bridge-weights.js'
import type { StepResult } from './step.js'

/** A feed on its way up the layers: where it is, and what has become of it. */
export interface Traveller extends Climber {
  readonly sequence: Sequence
  readonly ids: readonly number[]
  readonly depth: TokenDepth
  readonly bridges: ReadonlyMap<number, LoadedBridge>
  /** Of its exit policy, by the layer that they are the lens of. */
  readonly lens: ReadonlyMap<number, LoadedBridge>
  readonly countFrom: number
  readonly signal: AbortSignal | undefined
  embedded: boolean
  /** The layer that runs next; null at the end. */
  next: number | null
  /** Copy of the last row's input to the layer that is checked next. */
  input?: Float32Array
  /** Copies of the last row's outputs in the layer that has just run, where a policy asks for them. */
  sublayers?: { attention: Float32Array; mlp: Float32Array }
  /** Feeds that travel in this step. */
  readonly batch: number
  rowLayers: number
  layerPasses: number
  checkMs: number
  /** The layer that it has stopped after. */
  stoppedAt: number | null
  result: StepResult | null
  /** What its policy threw, or that it was aborted; null while all is well. It ends this feed and no other. */
  error: unknown
}

/** The ids of the check head that the traveller asks after a layer; null for the whole vocabulary. */
export function checkTokensOf(t: Traveller): readonly number[] | null {
  return t.depth.kind === 'exit' ? t.depth.checkTokens : null
}

/** Positions `from` .. `to - 1` of a feed's sequence. */
export interface Piece {
  readonly traveller: Traveller
  readonly from: number
  readonly to: number
}
