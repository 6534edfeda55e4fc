import type { ConfigReader } from '../checkpoint/config-reader.js'
import type { GgufMetadata } from '../checkpoint/gguf-metadata.js'
import type { TensorSource } from '../checkpoint/safetensors.js'
import type { Graph, Tensor } from '../ggml/graph.js'
import type { FactDefaults, Facts, FactUses } from './facts.js'
import type { Hyperparameters, LayerFacts } from './hyperparameters.js'
import type { RopeTable } from './rope.js'
import type { TensorMapping, TensorRow } from './tensor-rows.js'

/** The tensors of a package by their GGUF name. */
export interface Weights {
  /** For products and sums. */
  get(name: string): Tensor
  optional(name: string): Tensor | null
  /** For looking rows up by index. */
  rows(name: string): Tensor
}

/** What blocks are built from, wherever they stand in the model. */
export interface BlockContext {
  readonly g: Graph
  readonly h: Hyperparameters
  readonly family: FamilyTable
  readonly weights: Weights
}

/** What the engine gives a layer while its graph is built. Rows are ordered slot by slot, positions ascending. */
export interface LayerContext extends BlockContext {
  readonly layer: number
  readonly facts: LayerFacts
  /** Positions of the rows: i32 [rows]. */
  readonly positions: Tensor
  /** Positions of the rows that queries are wanted of; the same tensor as `positions` unless the layer is narrowed. */
  readonly queryPositions: Tensor
  /** Keeps only the rows whose output is wanted; the identity unless the layer is narrowed. [width, rows] -> [width, queries] */
  narrow(x: Tensor): Tensor
  /** A number for each query that follows from its position alone: f32 [1, 1, queries]. */
  perQuery(name: string, of: (position: number) => number): Tensor
  /**
   * Writes k and v into the cache and attends within the layer's window.
   * @param q [headDim, heads, queries] @param k [headDim, kvHeads, rows] @param v [headDim, kvHeads, rows]
   * @returns [headDim * heads, queries]
   */
  attend(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions): Tensor
  /** Told the attention output after its projection, and the MLP output, before they join the residual stream. */
  sublayer(which: 'attention' | 'mlp', output: Tensor): void
}

export interface AttentionOptions {
  readonly scale: number
  /** Scores become softcap tanh(score / softcap). */
  readonly softcap?: number | undefined
  /** f32 [heads]: a score for each head that takes its share of the softmax and has no value. */
  readonly sinks?: Tensor | null
}

/** What a family's MLP computes between its matrices. */
export type Activation = 'silu' | 'gelu' | 'gelu-tanh' | 'relu' | 'relu2' | 'xielu' | 'swiglu-oai'

/** One model family as a table: its names in config.json and in GGUF keys, its tensors, and how blocks are put together. */
export interface FamilyTable {
  /** GGUF `general.architecture`. */
  readonly architecture: string
  /** `model_type` values of config.json. */
  readonly modelTypes: readonly string[]
  /** False where llama.cpp does not run this architecture. */
  readonly inLlamaCpp?: false
  /** Name under which a checkpoint has its layers, where that is not `model.layers`. */
  readonly layersAt?: string
  readonly norm: 'rms' | 'layer'
  /** Added to the weights of norms when a checkpoint is converted: it has them as distance from 1. */
  readonly normOffset?: number
  /** Facts where config.json does not say them, as in transformers. */
  readonly defaults?: FactDefaults
  /** What the family reads beside these and what all read, and where it reads in another way. */
  readonly facts?: FactUses
  /** Fields of config.json that change the result, with the values that the family computes. */
  readonly accepts: Readonly<Record<string, readonly unknown[]>>
  /** Null where positions are not rotated. */
  readonly rope: RopeTable | null
  /** ALiBi: `Hyperparameters.maxBias`. */
  readonly maxBias?: number
  /** True for layers with a window, where the file does not say which; none where it is absent. */
  readonly isLocal?: (layer: number, facts: Facts) => boolean
  /** Which rotary positions a layer has; `full` where it is absent. */
  readonly ropeOf?: (layer: number, local: boolean, facts: Facts) => LayerFacts['rope']
  readonly activation: Activation
  /** How experts are weighed: softmax over all, or over those that were chosen. */
  readonly gating?: 'all' | 'chosen'
  /**
   * True where queries are scaled before they meet keys, and not the scores: small values of them are rounded otherwise in
   * half precision. llama.cpp's choice.
   */
  readonly scalesQueries?: boolean
  /** True where q and k are normed after they are rotated. */
  readonly ropeBeforeNorm?: boolean
  /** Tensors outside the layers, and those of one layer. */
  readonly model: readonly TensorRow[]
  readonly layers: readonly TensorRow[]
  /** Hidden rows [H, rows] -> [H, queries]. */
  readonly layer: (c: LayerContext, x: Tensor) => Tensor
}

/** A family as the other folders use it: everything follows from its table. */
export interface Family extends Pick<FamilyTable, 'architecture' | 'modelTypes'> {
  /** Whether llama.cpp runs this architecture. */
  readonly inLlamaCpp: boolean
  /** Name under which a checkpoint has its layers: tensors of layer 3 of a llama are `model.layers.3.…`. */
  readonly layersAt: string
  /** config.json to hyperparameters; a value that the family does not implement throws UnsupportedError naming the field. */
  fromConfig(config: ConfigReader): Hyperparameters
  /** GGUF metadata to hyperparameters; likewise. The file's tensor names tell of biases and tied embeddings. */
  fromMetadata(metadata: GgufMetadata, tensorNames: ReadonlySet<string>): Hyperparameters
  /** llama.cpp's metadata keys for these hyperparameters (architecture keys only, no tokenizer, no general.*). */
  toMetadata(h: Hyperparameters): GgufMetadata
  /** Hyperparameters with the numbers that a checkpoint keeps in its tensors. */
  withScalars(h: Hyperparameters, weights: TensorSource): Promise<Hyperparameters>
  /** Every tensor of the checkpoint, in the order of the file. */
  tensors(h: Hyperparameters): TensorMapping[]
  /** Tensors that the package has and the checkpoint lacks: rotary factors. */
  computedTensors(h: Hyperparameters): ComputedTensor[]

  /** ids and positions i32 [rows] -> hidden rows [H, rows] that enter layer 0. */
  embed(g: Graph, h: Hyperparameters, weights: Weights, ids: Tensor, positions: Tensor): Tensor
  /** Hidden rows [H, rows] -> [H, queries]. */
  layer(x: Tensor, context: Omit<LayerContext, 'family' | 'facts'>): Tensor
  /** Name of the LM head's matrix [V, ..], the token embedding where it is tied. */
  headMatrix(h: Hyperparameters): string
  /** Final norm and LM head: [H, rows] -> logits [V, rows], or as many as the head's matrix has rows. */
  head(g: Graph, h: Hyperparameters, weights: Weights, x: Tensor): Tensor
}

/** A tensor that the package has and the checkpoint lacks (rotary frequency factors, for one); always f32 [length]. */
export interface ComputedTensor {
  readonly name: string
  readonly length: number
  /** Null where the hyperparameters come from a package, which holds the values itself. */
  readonly values: Float32Array | null
}
