import type { GgufMetadata } from './gguf-metadata.js'
import type { TensorType } from './tensor-type.js'

export interface GgufTensor {
  readonly name: string
  /** Which of the file's parts holds it. */
  readonly part: number
  /** ggml's order: ne[0], the columns, first; empty for a single number. */
  readonly shape: readonly number[]
  readonly type: TensorType
  /** Position of the first byte in its part. */
  readonly offset: number
  readonly bytes: number
}

/** A file that tensors lie in. */
export interface GgufPart {
  readonly path: string
  /** Size of the file. */
  readonly bytes: number
  /** Tells another file in its place; of `openRegularSync`. */
  readonly stamp: string
}

/** What a GGUF file says of itself; the tensors' data stays in the file. */
export interface GgufFile {
  readonly path: string
  /** The file itself, or all parts of a split one in order. */
  readonly parts: readonly GgufPart[]
  /** Size of all parts. */
  readonly bytes: number
  readonly metadata: GgufMetadata
  /** In file order, those of the first part first. */
  readonly tensors: ReadonlyMap<string, GgufTensor>
  /** Position where tensor data starts, of a split file in its first part. */
  readonly dataOffset: number
}
