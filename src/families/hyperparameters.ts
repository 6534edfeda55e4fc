import type { Facts } from './facts.js'
import type { Rope } from './rope.js'

/** What a layer keeps of every position. The engine's cache has places for keys and values only. */
export type LayerState = { readonly kind: 'keys and values'; readonly kvHeads: number; readonly headDim: number }

/** What may differ from layer to layer. */
export interface LayerFacts {
  readonly heads: number
  readonly kvHeads: number
  /** Width of the MLP's inner layer. */
  readonly feedForward: number
  /** Positions that a query sees, itself included; null where it sees all before it. */
  readonly window: number | null
  /** Null where the layer does not rotate queries and keys. */
  readonly rope: 'full' | 'local' | null
  /** True where its MLP is made of experts. */
  readonly routed: boolean
  readonly state: LayerState
}

/** Routed experts of a model's MLPs. */
export interface Experts {
  readonly count: number
  /** Experts that one token uses. */
  readonly used: number
}

/** Sizes that every family has, as the engine needs them; L layers, H hidden, V vocabulary. */
export interface Hyperparameters {
  /** GGUF `general.architecture`, e.g. `llama`. */
  readonly architecture: string
  readonly layers: number
  readonly hidden: number
  /** Query heads; where layers differ, those of the first. */
  readonly heads: number
  /** KV heads; where layers differ, those of the first. */
  readonly kvHeads: number
  readonly headDim: number
  /** Width of the MLP's inner layer; where layers differ, that of the first. */
  readonly feedForward: number
  readonly vocabulary: number
  /** The longest sequence that the model was made for, in tokens. */
  readonly context: number
  readonly normEpsilon: number
  /** Positions that the model has an embedding for: no sequence can be longer. Absent where positions are computed. */
  readonly learnedPositions?: number
  /**
   * ALiBi: scores fall with the distance between positions, by a slope per head that ends at 2^-maxBias. Absent where
   * positions are told otherwise. Source: Press et al. 2022, section 3.
   */
  readonly maxBias?: number
  /** True where the LM head is the token embedding. */
  readonly tiedEmbeddings: boolean
  readonly experts: Experts | null
  /** Rotary positions: those of layers that see everything, and of layers with a window. */
  readonly ropes: { readonly full: Rope; readonly local: Rope } | null
  /** One entry for each layer. */
  readonly layer: readonly LayerFacts[]
  /** All that was read, under the names of `FACTS`. */
  readonly facts: Facts
}
