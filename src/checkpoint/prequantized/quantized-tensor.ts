import type { TensorType } from '../tensor-type.js'

/** A tensor that a checkpoint keeps quantised: stored in parts, read as the matrix that they stand for. */
export interface QuantizedTensor {
  /** The name that the matrix has where it is not quantised. */
  readonly name: string
  /** Of the matrix: all dimensions but the last are rows, one after the other. */
  readonly shape: readonly number[]
  /** The stored tensors that it is made of. */
  readonly parts: readonly string[]
  /** What the parts are, for a warning: `GPTQ 4-bit`. */
  readonly scheme: string
  /** The type that keeps every value; null where none does. */
  readonly exactType: TensorType | null
  /** Reads what all rows need. */
  open(): Promise<RowReader>
}

/** Rows of a quantised tensor. Callers give ranges and buffers that fit. */
export interface RowReader {
  /** Fills `out` with the values of `count` rows. */
  readFloats(start: number, count: number, out: Float32Array): Promise<void>
  /** Fills `out` with `count` rows of `exactType`; only where there is one. */
  readBlocks(start: number, count: number, out: Uint8Array): Promise<void>
}
