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
  q8_1: { id: 9, blockSize: 32, blockBytes: 36 },
  q2_k: { id: 10, blockSize: 256, blockBytes: 84 },
  q3_k: { id: 11, blockSize: 256, blockBytes: 110 },
  q4_k: { id: 12, blockSize: 256, blockBytes: 144 },
  q5_k: { id: 13, blockSize: 256, blockBytes: 176 },
  q6_k: { id: 14, blockSize: 256, blockBytes: 210 },
  q8_k: { id: 15, blockSize: 256, blockBytes: 292 },
  iq2_xxs: { id: 16, blockSize: 256, blockBytes: 66 },
  iq2_xs: { id: 17, blockSize: 256, blockBytes: 74 },
  iq3_xxs: { id: 18, blockSize: 256, blockBytes: 98 },
  iq1_s: { id: 19, blockSize: 256, blockBytes: 50 },
  iq4_nl: { id: 20, blockSize: 32, blockBytes: 18 },
  iq3_s: { id: 21, blockSize: 256, blockBytes: 110 },
  iq2_s: { id: 22, blockSize: 256, blockBytes: 82 },
  iq4_xs: { id: 23, blockSize: 256, blockBytes: 136 },
  i8: { id: 24, blockSize: 1, blockBytes: 1 },
  i16: { id: 25, blockSize: 1, blockBytes: 2 },
  i32: { id: 26, blockSize: 1, blockBytes: 4 },
  i64: { id: 27, blockSize: 1, blockBytes: 8 },
  f64: { id: 28, blockSize: 1, blockBytes: 8 },
  iq1_m: { id: 29, blockSize: 256, blockBytes: 56 },
  bf16: { id: 30, blockSize: 1, blockBytes: 2 },
  tq1_0: { id: 34, blockSize: 256, blockBytes: 54 },
  tq2_0: { id: 35, blockSize: 256, blockBytes: 66 },
  mxfp4: { id: 39, blockSize: 32, blockBytes: 17 },
  nvfp4: { id: 40, blockSize: 64, blockBytes: 36 },
  q1_0: { id: 41, blockSize: 128, blockBytes: 18 },
  q2_0: { id: 42, blockSize: 64, blockBytes: 18 },
} as const

export type TensorType = keyof typeof TENSOR_TYPES

/** What ggml's CPU backend multiplies no matrix of: numbers of other kinds, and types that only rows of a product have. */
const NO_WEIGHTS: ReadonlySet<TensorType> = new Set(['i8', 'i16', 'i32', 'i64', 'f64', 'q8_1', 'q8_k'])

/** True where a matrix of this type can be multiplied and looked up by rows. */
export function isWeightType(type: TensorType): boolean {
  return !NO_WEIGHTS.has(type)
}

/** What a checkpoint's matrices can be converted to. */
export const QUANTIZATIONS = ['f32', 'f16', 'bf16', 'q8_0', 'q4_0', 'q4_k', 'q6_k'] as const
export type Quantization = (typeof QUANTIZATIONS)[number]

/** Bytes of one row of `columns` elements. */
export function rowBytes(type: TensorType, columns: number): number {
  const { blockSize, blockBytes } = TENSOR_TYPES[type]
  return (columns / blockSize) * blockBytes
}

const BY_ID: ReadonlyMap<number, TensorType> = new Map(
  Object.entries(TENSOR_TYPES).map(([name, { id }]) => [id, name as TensorType]),
)

/** Types that older versions of ggml had. */
const REMOVED: Readonly<Record<number, string>> = {
  4: 'q4_2',
  5: 'q4_3',
  31: 'q4_0_4_4',
  32: 'q4_0_4_8',
  33: 'q4_0_8_8',
  36: 'iq4_nl_4_4',
  37: 'iq4_nl_4_8',
  38: 'iq4_nl_8_8',
}

/** The type with this number in a GGUF file, or null where ggml 0.23 has none. */
export function tensorTypeById(id: number): TensorType | null {
  return BY_ID.get(id) ?? null
}

/** Why a number is no type: the end of a sentence that begins with the tensor's name. */
export function unknownTypeReason(id: number): string {
  const removed = REMOVED[id]
  return removed === undefined
    ? `has type ${id}, which ggml 0.23 does not have; files of ik_llama.cpp have such`
    : `has type ${id} (${removed}), which ggml has removed; convert the model again`
}
