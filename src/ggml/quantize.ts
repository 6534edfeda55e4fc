import { rowBytes, TENSOR_TYPES, type TensorType } from '../checkpoint/tensor-type.js'
import { ggml } from './library.js'

/**
 * Writes `rows` rows of `columns` float32 values as `type` into `out`, by ggml's own quantisation.
 * @throws RangeError where the sizes do not fit each other or the type's blocks
 */
export function quantize(type: TensorType, values: Float32Array, rows: number, columns: number, out: Uint8Array): void {
  const { blockSize, id } = TENSOR_TYPES[type]
  if (columns % blockSize !== 0)
    throw new RangeError(`${columns} columns do not divide into ${type} blocks of ${blockSize}`)
  if (values.length < rows * columns) throw new RangeError(`${rows} x ${columns} values wanted, ${values.length} given`)
  if (out.byteLength < rows * rowBytes(type, columns)) throw new RangeError(`the output is too small for ${type}`)
  const { functions: f } = ggml()
  if (type === 'f32') out.set(new Uint8Array(values.buffer, values.byteOffset, rows * columns * 4))
  else if (type === 'f16') f.ggml_fp32_to_fp16_row(values, out, rows * columns)
  else if (type === 'bf16') f.ggml_fp32_to_bf16_row(values, out, rows * columns)
  else f.ggml_quantize_chunk(id, values, out, 0, rows, columns, null)
}
