import type { Bridge } from '../../depth/bridge.js'
import type { Plan } from '../../depth/plan.js'
import type { Sequence } from '../cache/sequence.js'
import type { TokenDepth } from '../plan/token-depth.js'

/** Tokens that a sequence takes in one step, and how deep they go. */
export interface Feed {
  readonly sequence: Sequence
  readonly ids: readonly number[]
  readonly depth: TokenDepth
  /** `StepResult.earlier` begins here: a position of the feed, or one whose row still waits; default the last one. */
  readonly logitsFrom?: number
  /** `StepResult.rowLayers` counts rows from this position on; default all. */
  readonly countFrom?: number
  /** Ends this feed with an error of code `aborted`, also between the pieces of a long prompt. */
  readonly signal?: AbortSignal | undefined
}

/** What the model says at a position. */
export interface SaidRow {
  /** Logits of the layer that the token stopped at: [V]. Valid until the sequence's next step. */
  readonly logits: Float32Array
  /** The largest of `logits`: its index (the lowest of equals) and value. */
  readonly top: number
  readonly topValue: number
  /** log sum exp of `logits`. */
  readonly logSumExp: number
}

/** The outcome for the last token of a feed. */
export interface StepResult extends SaidRow {
  /** Of positions `Feed.logitsFrom` .. end - 2 where the step took them through the last layer, else none. */
  readonly earlier: readonly SaidRow[]
  /** Layers that it had run when its logits were read. */
  readonly depth: number
  /** Evaluations of a layer for one row of this sequence in this step, for rows from `Feed.countFrom` on. */
  readonly rowLayers: number
  /** Passes over a layer's weights in which this sequence took part. */
  readonly layerPasses: number
  /** Feeds that the step had, and those of steps in whose pauses it ran. */
  readonly batch: number
  /** This sequence's share of the time in exit checks. */
  readonly checkMs: number
}

/** The end of one feed: an error where its own policy or plan is at fault, which leaves its sequence unusable. */
export type StepOutcome = { readonly result: StepResult } | { readonly error: unknown }

/** A position of a sequence whose hidden row is there. */
export interface Place {
  readonly sequence: Sequence
  readonly position: number
}

/** What a run goes up. */
export interface Rise {
  readonly layers: Plan
  /** Over gaps of the layers; default none. */
  readonly bridges?: readonly Bridge[]
  /** Layers whose MLP outputs `RisenRows.mlp` has. */
  readonly mlpAfter?: readonly number[]
}

/** Rows of a run that goes up layer by layer, where they are now. */
export interface RisenRows {
  /** The layer that has just run; -1 after the embedding. */
  readonly layer: number
  /** A copy of a hidden row: [H]. */
  hidden(sequence: Sequence, position: number): Float32Array
  /** A copy of the layer's MLP output for a row, where it was asked for: [H]. */
  mlp(sequence: Sequence, position: number): Float32Array
  /** Puts another hidden row [H] in the place of one: what comes next goes on from it. */
  write(sequence: Sequence, position: number, row: Float32Array): void
  /**
   * Shows the head's logits [V] and their softmax [V] of one place after the other; both are valid during the call.
   * @param lens from the layer to the end: what rows go through before the final norm
   */
  head(
    places: readonly Place[],
    see: (index: number, logits: Float32Array, probabilities: Float32Array) => void,
    lens?: Bridge,
  ): Promise<void>
}
