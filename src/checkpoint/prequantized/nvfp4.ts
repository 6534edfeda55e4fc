import { FileError } from '../../errors.js'
import type { SafetensorsTensor, TensorSource } from '../safetensors.js'
import { codedRows } from './coded-matrix.js'
import { E2M1, readNibbles } from './fp4.js'
import { blockGrid } from './grid.js'
import { checkPart, matrixShape, readScaleValues, requirePart } from './parts.js'
import type { QuantizedTensor } from './quantized-tensor.js'

/**
 * A matrix of E2M1 numbers, the first of two in the lower half of a byte, with an E4M3 scale for each 16 of a row and one
 * factor for all: what ModelOpt calls weight_scale_2, and compressed-tensors weight_global_scale, which is its reciprocal.
 * ggml's nvfp4 has no place for the factor, so no type keeps the values.
 * @param module name of the layer, without `.weight`
 */
export async function nvfp4Tensor(
  weights: TensorSource,
  module: string,
  part: SafetensorsTensor,
  factor: { readonly name: string; readonly reciprocal: boolean },
): Promise<QuantizedTensor> {
  checkPart(weights, part, ['U8'])
  const [rows, bytes] = matrixShape(weights, part)
  const columns = bytes * 2
  const grid = blockGrid(columns, 1, 16)
  const scales = requirePart(weights, `${module}.weight_scale`, part.name)
  checkPart(weights, scales, ['F8_E4M3'], [rows, grid.groups])
  const factorPart = requirePart(weights, factor.name, part.name)
  checkPart(weights, factorPart, ['F32'], [], [1])
  const [stored = 0] = await readScaleValues(weights, factorPart)
  if (!(stored > 0)) throw new FileError(weights.fileOf(factor.name), `tensor ${factor.name} holds ${stored}`)
  const scale = factor.reciprocal ? 1 / stored : stored
  return {
    name: `${module}.weight`,
    shape: [rows, columns],
    parts: [part.name, scales.name, factorPart.name],
    scheme: 'NVFP4',
    exactType: null,
    open: async () =>
      codedRows(
        {
          ...grid,
          columns,
          table: E2M1,
          groupOf: null,
          readCodes: (start, count, into) =>
            readNibbles(weights, part, start * columns, into.subarray(0, count * columns)),
          readScales: async (start, count) => {
            const values = await readScaleValues(weights, scales, start * grid.groups, count * grid.groups)
            for (let i = 0; i < values.length; i++) values[i]! *= scale
            return { scales: values, zeros: null }
          },
        },
        null,
      ),
  }
}
