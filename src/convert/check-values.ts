import type { TensorType } from '../checkpoint/tensor-type.js'
import { FileError } from '../errors.js'

/** Where rounding to half precision or to bfloat16 gives infinity. */
const F16_END = 65_520
const BF16_END = (2 - 2 ** -8) * 2 ** 127

/**
 * What a weight must stay below to be stored as a type. Quantised blocks keep their scales in half precision: a scale is the
 * largest value of a block over 127 (q8_0), 8 (q4_0) or 16 (q5_0). In k-quants it is a scale of scales, and the fit may move
 * it; these are half of where it could end.
 */
const ENDS: Partial<Record<TensorType, number>> = {
  f16: F16_END,
  bf16: BF16_END,
  q8_0: 127 * F16_END,
  q4_0: 8 * F16_END,
  q5_0: 16 * F16_END,
  q4_k: (63 / 2) * F16_END,
  q6_k: (4096 / 2) * F16_END,
}

/**
 * Refuses weights that would not come back: NaN and infinities, which quantising hides and which make every logit NaN, and
 * values that the type turns into infinities.
 * @throws FileError with the tensor's name
 */
export function checkValues(path: string, tensor: string, values: Float32Array, type: TensorType): void {
  const end = ENDS[type] ?? Number.POSITIVE_INFINITY
  // By index: an iterator takes many times as long as the conversion itself.
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!
    if (Math.abs(value) < end) continue
    if (!Number.isFinite(value)) {
      throw new FileError(path, `tensor ${tensor} holds ${value}: the checkpoint is damaged`)
    }
    throw new FileError(path, `tensor ${tensor} holds ${value}, more than ${type} can; f32 and bf16 keep it`)
  }
}
