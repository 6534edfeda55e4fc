import type { Bridge } from '../depth/bridge.js'
import type { Plan } from '../depth/plan.js'
import type { Depth, PromptPass } from '../depth/policy.js'

/** A full-depth run; S positions, L layers, H hidden, V vocabulary. Arrays are row-major. */
export interface Trace {
  /** [S] */
  readonly inputIds: Int32Array
  /** Per layer [S, H]: output of the layer, before the final norm. Empty with `onLayer`, as the next two are. */
  readonly hidden: readonly Float32Array[]
  /** Per layer [S, V]: final norm and LM head applied to `hidden`. */
  readonly lensLogits: readonly Float32Array[]
  /** Per layer [S, V]: the same through the lens that was given; null for layers without a map. Empty without a lens. */
  readonly mappedLogits: readonly (Float32Array | null)[]
  /** [S, V] */
  readonly logits: Float32Array
}

/** What a trace has of one layer. */
export interface TracedLayer {
  readonly layer: number
  /** [S, H] */
  readonly hidden: Float32Array
  /** [S, V] */
  readonly lensLogits: Float32Array
  /** [S, V]; null where no lens has a map of the layer. */
  readonly mappedLogits: Float32Array | null
}

export interface TraceOptions {
  /**
   * Called with every layer, the lowest first; the next one runs when it is done, and so nothing here may wait for other work of the model. Then `Trace` keeps the last layer's logits alone: all
   * layers of 1,000 tokens are 6 GB where the vocabulary has 49,152 and the model 30.
   */
  readonly onLayer?: (layer: TracedLayer) => void | Promise<void>
  /** Maps from layers to the end of the model: layers are shown as they are and through these. */
  readonly lens?: readonly Bridge[]
  readonly signal?: AbortSignal
}

export interface ScoreOptions {
  /**
   * P: tokens that are prefilled at full depth (by its plan under a skip policy of `prompt=plan`); the others are fed one by
   * one under the policy.
   */
  readonly promptLength: number
  readonly depth?: Depth
  /**
   * Takes texts that are longer than the context, in windows of `context` tokens that move on by this many, 1 to
   * `context` - 1. Each feeds only the tokens that no window before it has fed; what it shares with the window before is its
   * prompt. No window begins with a token that is not in the text there. Without it such a text is refused.
   */
  readonly stride?: number
  /** Keep `Score.logits`, which are much for a long text. Default true. */
  readonly logits?: boolean
  readonly signal?: AbortSignal
  /** Tokens fed so far, of how many. */
  readonly onProgress?: (fed: number, total: number) => void
}

/** A teacher-forced run; n = S - P fed tokens, V vocabulary. */
export interface Score {
  /** [n, V]: logits after each fed token, of the layer that it stopped at; empty where they were not asked for. */
  readonly logits: Float32Array
  /** [n]: layers that each token had run when its logits were read. */
  readonly depth: Int32Array
  /** Mean negative log-likelihood in nats of tokens P .. S-1; the first is scored by the prompt's logits. */
  readonly loss: number
  /** exp(loss) */
  readonly perplexity: number
  readonly meanDepth: number
  /** Windows that the text was read in: 1 where it fits the context. */
  readonly windows: number
}

/** A text whose tokens are known. */
export interface ForcedText {
  readonly ids: readonly number[]
  /** P: tokens that are the prompt; at least one comes after them. */
  readonly promptLength: number
}

export interface PlanLossOptions {
  /** `full` (default): prompts run every layer, as generation does. `plan`: they run the plan too. */
  readonly prompt?: 'full' | 'plan'
}

/** Hidden rows of texts after a layer; row by row those after each text's prompt, text by text. */
export interface TextRows {
  /** The layer that has just run; -1 after the embedding. */
  readonly layer: number
  readonly count: number
  /** A copy of a hidden row: [H]. */
  hidden(row: number): Float32Array
  /** A copy of the layer's MLP output, where `mlpAfter` names the layer: [H]. */
  mlp(row: number): Float32Array
  /** Puts another hidden row [H] in the place of one: the layers above go on from it. */
  write(row: number, values: Float32Array): void
  /**
   * Shows the head's logits [V] and their softmax [V] of some rows, one after the other; both are valid during the call.
   * @param see its first argument counts from 0 in `rows`
   * @param lens from the layer to the end: what rows go through before the final norm
   */
  head(
    rows: readonly number[],
    see: (index: number, logits: Float32Array, probabilities: Float32Array) => void,
    lens?: Bridge,
  ): Promise<void>
}

/** Rows that texts go on from. */
export interface TextStart {
  readonly layer: number
  /** [H] */
  row(index: number): Float32Array
}

/** Losses of the same texts under one plan after another; holds their prompts in the KV cache until it is disposed. */
export interface PlanLosses {
  /**
   * Per text `from` .. `to - 1` (default all): summed negative log-likelihood in nats of its tokens P .. S-1, as `score`
   * has it under `layers:..`, but all rows of a layer at once.
   */
  of(
    layers: Plan,
    options?: {
      readonly from?: number
      readonly to?: number
      /** Over gaps of the layers. */
      readonly bridges?: readonly Bridge[]
      /** Layers below `layer` are not run: these hidden rows enter it, those of text `from` first, as `rise` shows them. */
      readonly start?: TextStart
      readonly signal?: AbortSignal
    },
  ): Promise<Float64Array>
  /** Takes the rows that `of` feeds, of texts `from` .. `to - 1` (default all) together, up layers one by one. */
  rise(
    rise: {
      readonly layers: Plan
      /** Over gaps of the layers; visits see rows after them. */
      readonly bridges?: readonly Bridge[]
      readonly mlpAfter?: readonly number[]
      readonly from?: number
      readonly to?: number
      readonly signal?: AbortSignal
    },
    visit: (rows: TextRows) => void | Promise<void>,
  ): Promise<void>
  /** Per text: what the model says at full depth after the prompt. */
  prompts(signal?: AbortSignal): Promise<PromptPass[]>
  dispose(): Promise<void>
}

export interface PredictOptions {
  readonly depth?: Depth
  /** Token ids that are fed one by one after the prompt, whatever the model says. */
  readonly continuation?: readonly number[]
  readonly signal?: AbortSignal
}

/** The prompt's own pass under a policy: what comes next, and at which depth that was known. */
export interface Prediction {
  /** Logits [V] after the prompt, then after each token of the continuation; of the layer that each stopped at. */
  readonly logits: readonly Float32Array[]
  /** The most probable token after the prompt. */
  readonly top: number
  /** Layers that the prompt's last row had run when its logits were read. */
  readonly depth: number
  /** The same for every row whose logits were read: `depth`, then one for each token of the continuation. */
  readonly depths: readonly number[]
  /** Evaluations of a layer for one row, the prompt's rows included. */
  readonly rowLayers: number
  /** Time in exit checks. */
  readonly checkMs: number
  /** Time of all, from the first layer to the last logits. */
  readonly ms: number
}
