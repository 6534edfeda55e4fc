import koffi from 'koffi'
import { rowBytes, TENSOR_TYPES, type TensorType } from '../checkpoint/tensor-type.js'
import { ggml, type Pointer } from './library.js'
import { prototype } from './proc.js'

/** Offset of `to_float` in `ggml_type_traits`: name, int64 block, int64 interleave, size_t bytes, bool quantized. */
const TO_FLOAT = 40

const toFloat = prototype('void (void *x, void *y, int64_t n)')

/**
 * Reads `rows` rows of `columns` elements of a type as float32 into `out`.
 * @throws RangeError where the sizes do not fit each other, or the type is none of numbers with a fraction
 */
export function dequantize(
  type: TensorType,
  bytes: Uint8Array,
  rows: number,
  columns: number,
  out: Float32Array,
): void {
  const { id, blockSize } = TENSOR_TYPES[type]
  const elements = rows * columns
  if (columns % blockSize !== 0 || bytes.length < rows * rowBytes(type, columns) || out.length < elements) {
    throw new RangeError(`${rows} x ${columns} of ${type} do not fit ${bytes.length} bytes and ${out.length} values`)
  }
  if (type === 'f32') {
    new Uint8Array(out.buffer, out.byteOffset, elements * 4).set(bytes.subarray(0, elements * 4))
    return
  }
  const traits: Pointer = ggml().functions.ggml_get_type_traits(id)
  const convert: Pointer | null = koffi.decode(traits, TO_FLOAT, 'void *')
  if (convert === null) throw new RangeError(`${type} has no float32 form`)
  koffi.call(convert, toFloat, bytes, out, elements)
}
