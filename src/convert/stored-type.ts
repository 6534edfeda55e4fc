import { type Quantization, TENSOR_TYPES, type TensorType } from '../checkpoint/tensor-type.js'

/** The 32-element type that takes over where rows do not divide by a k-quant's 256; llama.cpp's choice. */
const SHORT_ROWS: Partial<Record<TensorType, TensorType>> = { q4_k: 'q5_0', q6_k: 'q8_0' }

/** The type that a matrix with rows of `columns` is stored as; f16 where no block fits. */
export function storedType(quantization: Quantization, columns: number): TensorType {
  if (columns % TENSOR_TYPES[quantization].blockSize === 0) return quantization
  const shorter = SHORT_ROWS[quantization]
  if (shorter !== undefined && columns % TENSOR_TYPES[shorter].blockSize === 0) return shorter
  return 'f16'
}

/** `general.file_type` in llama.cpp's numbering (LLAMA_FTYPE_*). */
export const FILE_TYPES: Readonly<Record<Quantization, number> & Partial<Record<TensorType, number>>> = {
  f32: 0,
  f16: 1,
  q4_0: 2,
  q4_1: 3,
  q8_0: 7,
  q5_0: 8,
  q5_1: 9,
  q4_k: 14,
  q6_k: 18,
  bf16: 32,
  mxfp4: 38,
}
