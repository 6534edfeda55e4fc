import type { ConfigReader } from '../checkpoint/config-reader.js'
import type { GgufMetadata } from '../checkpoint/gguf-metadata.js'
import type { Graph, Tensor } from '../ggml/graph.js'

/** Sizes that every family has; L layers, H hidden, V vocabulary. */
export interface Hyperparameters {
  /** GGUF `general.architecture`, e.g. `llama`. */
  readonly architecture: string
  readonly layers: number
  readonly hidden: number
  readonly heads: number
  readonly kvHeads: number
  readonly headDim: number
  /** Width of the MLP's inner layer. */
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
}

/** One tensor of a checkpoint and what becomes of it in the package. */
export interface TensorMapping {
  /** Name in the GGUF file, llama.cpp's. */
  readonly name: string
  /** Name in the Hugging Face checkpoint, which may lack its first part where it was saved without an LM head. */
  readonly source: string
  /** Shape in row-major order, as safetensors gives it: [rows, columns] or [length]. */
  readonly shape: readonly number[]
  /** Matrices are quantised; norms, biases and other small tensors stay f32. */
  readonly quantize: boolean
  /** Its rows are looked up by index (a token embedding), so they must stay in plain memory. */
  readonly lookup?: boolean
  /** Leading rows of the checkpoint's tensor that the package leaves out; `shape` is without them. */
  readonly skipRows?: number
  /** Rotary row permutation of llama.cpp's `llama` architecture: the number of heads that the rows are split into. */
  readonly rotaryHeads?: number
  /**
   * The rows are queries, keys and values of one head after the other, and llama.cpp wants all queries, all keys, all
   * values: the number of heads.
   */
  readonly fusedHeads?: number
}

/** A tensor that the package has and the checkpoint lacks (rotary frequency factors, for one); always f32 [length]. */
export interface ComputedTensor {
  readonly name: string
  readonly length: number
  /** Null where the hyperparameters come from a package, which holds the values itself. */
  readonly values: Float32Array | null
}

/** The tensors of a package by their GGUF name. */
export interface Weights {
  /** For products and sums. */
  get(name: string): Tensor
  optional(name: string): Tensor | null
  /** For looking rows up by index. */
  rows(name: string): Tensor
}

/** What the engine gives a layer while its graph is built. Rows are ordered slot by slot, positions ascending. */
export interface LayerContext<H extends Hyperparameters = Hyperparameters> {
  readonly hyperparameters: H
  readonly weights: Weights
  readonly layer: number
  /** Positions of the rows: i32 [rows]. */
  readonly positions: Tensor
  /** Positions of the rows that queries are wanted of; the same tensor as `positions` unless the layer is narrowed. */
  readonly queryPositions: Tensor
  /** Keeps only the rows whose output is wanted; the identity unless the layer is narrowed. [width, rows] -> [width, queries] */
  narrow(x: Tensor): Tensor
  /**
   * Writes k and v into the cache and attends.
   * @param q [headDim, heads, queries] @param k [headDim, kvHeads, rows] @param v [headDim, kvHeads, rows]
   * @returns [headDim * heads, queries]
   */
  attend(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions): Tensor
  /** Told the attention output after its projection, and the MLP output, before they join the residual stream. */
  sublayer(which: 'attention' | 'mlp', output: Tensor): void
}

export interface AttentionOptions {
  readonly scale: number
}

/** One model family: how its checkpoint is read, and what embedding, layer and head compute. */
export interface Family<H extends Hyperparameters = Hyperparameters> {
  /** GGUF `general.architecture`. */
  readonly architecture: string
  /** `model_type` values of config.json. */
  readonly modelTypes: readonly string[]
  /** Name under which a checkpoint has its layers: tensors of layer 3 of a llama are `model.layers.3.…`. */
  readonly layersAt: string
  /** Whether llama.cpp runs this architecture. */
  readonly inLlamaCpp: boolean

  /** config.json to hyperparameters; a value that the family does not implement throws UnsupportedError naming the field. */
  fromConfig(config: ConfigReader): H
  /** GGUF metadata to hyperparameters; likewise. The file's tensor names tell of biases and tied embeddings. */
  fromMetadata(metadata: GgufMetadata, tensorNames: ReadonlySet<string>): H
  /** llama.cpp's metadata keys for these hyperparameters (architecture keys only, no tokenizer, no general.*). */
  toMetadata(h: H): GgufMetadata
  /** Every tensor of the checkpoint, in the order of the file. */
  tensors(h: H): TensorMapping[]
  computedTensors(h: H): ComputedTensor[]

  /** ids and positions i32 [rows] -> hidden rows [H, rows] that enter layer 0. */
  embed(g: Graph, h: H, weights: Weights, ids: Tensor, positions: Tensor): Tensor
  /** Hidden rows [H, rows] -> [H, queries]. */
  layer(g: Graph, x: Tensor, context: LayerContext<H>): Tensor
  /** Name of the LM head's matrix [V, ..], the token embedding where it is tied. */
  headMatrix(h: H): string
  /** Final norm and LM head: [H, rows] -> logits [V, rows], or as many as the head's matrix has rows. */
  head(g: Graph, h: H, weights: Weights, x: Tensor): Tensor
}
