/**
 * Element types of tensors as ggml stores them: `id` is the number in GGUF files and in ggml's `enum ggml_type`; a
 * block of `blockSize` elements takes `blockBytes` bytes.
 */
export const TENSOR_TYPES = {
  f32: { id: 0, blockSize: 1, blockBytes: 4 },
  f16: { id: 1, blockSize: 1, blockBytes: 2 },
  q4_0: { id: 2, blockSize: 32, blockBytes: 18 },
  q4_1: { id: 3, blockSize: 32, blockBytes: 20 },
  q5_0: { id: 6, blockSize: 32, blockBytes: 22 },
  q5_1: { id: 7, blockSize: 32, blockBytes: 24 },
  q8_0: { id: 8, blockSize: 32, blockBytes: 34 },
  q2_k: { id: 10, blockSize: 256, blockBytes: 84 },
  q3_k: { id: 11, blockSize: 256, blockBytes: 110 },
  q4_k: { id: 12, blockSize: 256, blockBytes: 144 },
  q5_k: { id: 13, blockSize: 256, blockBytes: 176 },
  q6_k: { id: 14, blockSize: 256, blockBytes: 210 },
  iq4_nl: { id: 20, blockSize: 32, blockBytes: 18 },
  iq4_xs: { id: 23, blockSize: 256, blockBytes: 136 },
  i32: { id: 26, blockSize: 1, blockBytes: 4 },
  i64: { id: 27, blockSize: 1, blockBytes: 8 },
  bf16: { id: 30, blockSize: 1, blockBytes: 2 },
  mxfp4: { id: 39, blockSize: 32, blockBytes: 17 },
  nvfp4: { id: 40, blockSize: 64, blockBytes: 36 },
} as const

export type TensorType = keyof typeof TENSOR_TYPES

/** What a checkpoint's matrices can be converted to. */
export const QUANTIZATIONS = ['f32', 'f16', 'bf16', 'q8_0', 'q4_0', 'q4_k', 'q6_k'] as const
export type Quantization = (typeof QUANTIZATIONS)[number]

/** Bytes of one row of `columns` elements. */
export function rowBytes(type: TensorType, columns: number): number {
  const { blockSize, blockBytes } = TENSOR_TYPES[type]
  return (columns / blockSize) * blockBytes
}

/** The type with this number in a GGUF file, or null where Shoal does not know it. */
export function tensorTypeById(id: number): TensorType | null {
  for (const name of Object.keys(TENSOR_TYPES) as TensorType[]) if (TENSOR_TYPES[name].id === id) return name
  return null
}
