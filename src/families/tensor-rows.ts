import type { Facts, FlagName } from './facts.js'
import type { LayerFacts } from './hyperparameters.js'

/** One tensor of a checkpoint and what becomes of it in the package. */
export interface TensorMapping {
  /** Name in the GGUF file, llama.cpp's. */
  readonly name: string
  /** Where its rows come from: the first of these that the checkpoint has. */
  readonly sources: readonly TensorSourceRows[]
  /** Shape in row-major order, as safetensors gives it: [rows, columns], [length] or [experts, rows, columns]. */
  readonly shape: readonly number[]
  /** Values that its rows have: 1 for biases and norms, each value of which is a row of its own. */
  readonly columns: number
  /** Matrices are quantised; norms, biases and other small tensors stay f32. */
  readonly quantize: boolean
  /** Its rows are looked up by index (a token embedding), so they must stay in plain memory. */
  readonly lookup?: boolean
  /** The share of it that a token uses, for matrices and biases of experts. */
  readonly share?: number
  /** Added to every value. */
  readonly offset?: number
}

/** Rows of a checkpoint that make a tensor: all dimensions but the last are counted as rows, of what has rows at all. */
export interface TensorSourceRows {
  /**
   * Names in the Hugging Face checkpoint, which may lack their first part where it was saved without an LM head; several are
   * stacked one after the other.
   */
  readonly names: readonly string[]
  /** Shape of each. */
  readonly shape: readonly number[]
  /** Which row of the stack the tensor's row is; the same where absent. */
  readonly row?: (row: number) => number
  /** True where each matrix is stored as [columns, rows]. */
  readonly transposed?: boolean
}

/** How the rows of a fused or permuted tensor are laid out in the checkpoint. */
export type RowOrder = 'rotary-q' | 'rotary-k' | 'heads-of-qkv' | 'groups-of-qkv'

/** A row of a family's tensor table: a tensor by its role. */
export interface TensorRow {
  /** llama.cpp's name without `blk.N.` and `.weight`. */
  readonly name: string
  /** The checkpoint's name without layer and `.weight`; `{e}` stands for an expert, `{h}` for a head. */
  readonly source: string
  readonly shape: readonly DimensionName[]
  /** Whether there is a `.bias` beside the `.weight`. */
  readonly bias?: boolean | FlagName
  /** Whether the model has it. */
  readonly when?: (facts: Facts, layer: LayerFacts | null) => boolean
  /** Matrices are quantised unless the table says `plain`. */
  readonly plain?: boolean
  readonly lookup?: boolean
  readonly order?: RowOrder
  /** Stored as [columns, rows]. */
  readonly transposed?: boolean
  /** Leading rows that are left out. */
  readonly skipRows?: number
  /** The name is complete: no `.weight` behind it. */
  readonly bare?: boolean
  /** A vector in the package, whatever its shape in the checkpoint. */
  readonly flat?: boolean
  /** Other places where it may stand. */
  readonly or?: readonly OtherSource[]
  /** A norm, whose weights families may keep as distance from 1. */
  readonly isNorm?: boolean
}

/** Another form of a tensor in a checkpoint: a part of the rows of a fused one. */
export interface OtherSource {
  readonly source: string
  readonly shape: readonly DimensionName[]
  /** Which of two halves of every matrix's rows, or which of two rows that alternate. */
  readonly part?: 'first-half' | 'second-half' | 'even' | 'odd'
  readonly transposed?: boolean
  readonly bare?: boolean
}

/** Lengths by name; `headDim x heads` is one of them because norms of heads may be stacked. */
export type DimensionName =
  | 'one'
  | 'hidden'
  | 'vocabulary'
  | 'positions'
  | 'embedding'
  | 'q'
  | 'kv'
  | 'qkv'
  | 'heads'
  | 'kvHeads'
  | 'headDim'
  | 'inner'
  | 'twoInner'
  | 'experts'
  | 'expertInner'
  | 'twoExpertInner'
  | 'sharedInner'
  | 'twoSharedInner'
