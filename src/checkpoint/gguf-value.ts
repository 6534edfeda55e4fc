export type GgufScalarType =
  | 'uint8'
  | 'int8'
  | 'uint16'
  | 'int16'
  | 'uint32'
  | 'int32'
  | 'float32'
  | 'bool'
  | 'string'
  | 'uint64'
  | 'int64'
  | 'float64'

/** A metadata value as the file types it. */
export type GgufValue =
  | { readonly type: Exclude<GgufScalarType, 'bool' | 'string' | 'uint64' | 'int64'>; readonly value: number }
  /** A bigint beyond what a number holds exactly. */
  | { readonly type: 'uint64' | 'int64'; readonly value: number | bigint }
  | { readonly type: 'bool'; readonly value: boolean }
  /** `bytes` where those of the file are no UTF-8, which `value` then has replacement characters for. */
  | { readonly type: 'string'; readonly value: string; readonly bytes?: Uint8Array }
  | { readonly type: 'array'; readonly of: 'string'; readonly value: readonly string[] }
  | { readonly type: 'array'; readonly of: Exclude<GgufScalarType, 'string'>; readonly value: readonly number[] }
