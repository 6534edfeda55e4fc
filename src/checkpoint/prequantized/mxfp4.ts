import type { SafetensorsTensor, TensorSource } from '../safetensors.js'
import { codedRows } from './coded-matrix.js'
import { E2M1, readNibbles } from './fp4.js'
import { blockGrid, readGridRows } from './grid.js'
import { checkPart, elementCount, requirePart, wrongPart } from './parts.js'
import type { QuantizedTensor } from './quantized-tensor.js'

const SUFFIX = '_blocks'

/**
 * The matrices of gpt-oss: X_blocks U8 [.., rows, in / 32, 16] holds 32 E2M1 numbers in 16 bytes, the first of two in the
 * lower half, and X_scales U8 [.., rows, in / 32] their exponents, biased by 127.
 */
export function mxfp4Tensors(weights: TensorSource): QuantizedTensor[] {
  return [...weights.tensors.values()]
    .filter(({ name }) => name.endsWith(SUFFIX))
    .map((part) => {
      const name = part.name.slice(0, -SUFFIX.length)
      checkPart(weights, part, ['U8'])
      const [width = 0, bytes = 0] = part.shape.slice(-2)
      if (part.shape.length < 3 || bytes !== 16 || elementCount(part.shape) === 0) {
        throw wrongPart(weights, part, '[.., rows, blocks of 32, 16]')
      }
      const scales = requirePart(weights, `${name}_scales`, part.name)
      checkPart(weights, scales, ['U8', 'F8_E8M0'], part.shape.slice(0, -1))
      // Under the bare name an unquantised gpt-oss has the matrix turned, which a square one would not tell.
      return mxfp4Tensor(weights, `${name}.weight`, part, scales, [...part.shape.slice(0, -2), width * 32])
    })
}

/** A matrix of E2M1 numbers with an exponent for each 32 of a row; `shape` is the matrix's. */
export function mxfp4Tensor(
  weights: TensorSource,
  name: string,
  part: SafetensorsTensor,
  scales: SafetensorsTensor,
  shape: readonly number[],
): QuantizedTensor {
  const columns = shape.at(-1)!
  const grid = blockGrid(columns, 1, 32)
  return {
    name,
    shape,
    parts: [part.name, scales.name],
    scheme: 'MXFP4',
    exactType: 'mxfp4',
    open: async () =>
      codedRows(
        {
          ...grid,
          columns,
          table: E2M1,
          groupOf: null,
          readCodes: (start, count, into) =>
            readNibbles(weights, part, start * columns, into.subarray(0, count * columns)),
          readScales: (start, count) => readGridRows(weights, scales, grid, start, count),
        },
        'mxfp4',
      ),
  }
}
