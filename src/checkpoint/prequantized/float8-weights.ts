import type { ConfigReader } from '../config-reader.js'
import { type Float8, float8Table, isFloat8 } from '../float8.js'
import type { SafetensorsDtype, SafetensorsTensor, TensorSource } from '../safetensors.js'
import type { TensorType } from '../tensor-type.js'
import { codedRows } from './coded-matrix.js'
import { blockGrid, channelGrid, fitsGrid, readGridRows, type ScaleGrid, tensorGrid } from './grid.js'
import { checkPart, elementCount, readScaleValues, requirePart, SCALE_DTYPES, wrongPart } from './parts.js'
import type { QuantizedTensor } from './quantized-tensor.js'

const SCALE_OF_WEIGHT: readonly SafetensorsDtype[] = [...SCALE_DTYPES, 'F8_E8M0', 'U8']

/** Where half precision keeps a power of two times every E4M3 number: multiples of 2^-9 up to 448. */
const HALF_SCALES = { least: 2 ** -15, largest: 2 ** 7 }

/**
 * The matrices of a checkpoint in 8-bit floats, of `quant_method` fp8 (DeepSeek, Qwen, MiniMax, Mistral), fbgemm_fp8, mxfp8 and
 * modelopt's FP8: X F8_E4M3 [.., out, in] times a scale for the tensor, for each row, or for each block of
 * `weight_block_size`. It is X_scale_inv (a factor in spite of its name), X_scale, or Mistral's qscale_weight.
 */
export async function float8Tensors(weights: TensorSource, quantization: ConfigReader): Promise<QuantizedTensor[]> {
  quantization.only('expert_dtype', ['fp8'])
  quantization.only('fmt', ['e4m3', 'e5m2'])
  const block = blockSize(quantization)
  const tensors: QuantizedTensor[] = []
  for (const part of weights.tensors.values()) {
    if (isFloat8(part.dtype) && !SCALE_NAME.test(part.name)) {
      const scale = requireScale(weights, part)
      tensors.push(await float8Tensor(weights, part, scale, findGrid(weights, part, scale, block)))
    }
  }
  return tensors
}

/** Names of scales, which may be 8-bit floats themselves. */
const SCALE_NAME = /[._]scale(_inv)?$/

/** Mistral's name for the scale of X.weight. */
const MISTRAL = 'qscale_weight'

function blockSize(quantization: ConfigReader): readonly [number, number] | null {
  const usual = quantization.fields.quant_method === 'mxfp8' ? [1, 32] : [128, 128]
  const { weight_block_size: size = usual } = quantization.fields
  if (size === null) return null
  const [height, width] = Array.isArray(size) ? (size as unknown[]) : []
  if (!isSize(height) || !isSize(width) || (size as unknown[]).length !== 2) {
    throw quantization.unsupported('weight_block_size')
  }
  return [height, width]
}

function isSize(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0
}

function requireScale(weights: TensorSource, part: SafetensorsTensor): SafetensorsTensor {
  const mistral = part.name.replace(/weight$/, MISTRAL)
  const names = [`${part.name}_scale_inv`, `${part.name}_scale`, ...(mistral === part.name ? [] : [mistral])]
  const name = names.find((name) => weights.tensors.has(name)) ?? names[0]!
  return requirePart(weights, name, part.name)
}

/** How the scales lie: as their shape says, which must be one that the configuration allows. */
function findGrid(
  weights: TensorSource,
  part: SafetensorsTensor,
  scale: SafetensorsTensor,
  block: readonly [number, number] | null,
): ScaleGrid {
  const columns = part.shape.at(-1) ?? 1
  const height = part.shape.at(-2) ?? 1
  const rows = columns === 0 ? 0 : elementCount(part.shape) / columns
  checkPart(weights, scale, SCALE_OF_WEIGHT)
  const grids = [tensorGrid(rows, columns), channelGrid(columns)]
  // Blocks of a stack of matrices are rows of blocks where no block ends inside of a matrix.
  if (block !== null && (height === rows || height % block[0] === 0)) {
    grids.unshift(blockGrid(columns, block[0], block[1]))
  }
  const flat = { ...scale, shape: flatten(part, scale) }
  const grid = grids.find((grid) => fitsGrid(flat, grid, rows, columns))
  if (grid === undefined || (scale.dtype === 'U8' && scale.shape.length < 2)) {
    throw wrongPart(
      weights,
      scale,
      `one scale for [${part.shape.join(', ')}], for each row, or for each block of ${block?.join(' x ') ?? 'none'}`,
    )
  }
  return grid
}

/** The shape of scales of a stack of matrices, with the stack's dimensions and the rows as one. */
function flatten(part: SafetensorsTensor, scale: SafetensorsTensor): readonly number[] {
  if (part.shape.length < 3 || scale.shape.length !== part.shape.length) return scale.shape
  const stack = part.shape.slice(0, -2)
  if (stack.some((n, i) => scale.shape[i] !== n)) return scale.shape
  return [elementCount(scale.shape.slice(0, -1)), scale.shape.at(-1)!]
}

/** A matrix of 8-bit floats with such scales; they are few, and are read to see whether half precision keeps the values. */
export async function float8Tensor(
  weights: TensorSource,
  part: SafetensorsTensor,
  scale: SafetensorsTensor,
  grid: ScaleGrid,
): Promise<QuantizedTensor> {
  const { name, dtype, shape } = part
  const columns = shape.at(-1) ?? 1
  const exactType = dtype === 'F8_E4M3' ? await typeOfScales(weights, scale) : null
  return {
    name,
    shape,
    parts: [name, scale.name],
    scheme: 'FP8',
    exactType,
    open: async () => {
      const matrix = {
        ...grid,
        columns,
        table: float8Table(dtype as Float8),
        groupOf: null,
        readCodes: (start: number, count: number, into: Uint8Array) =>
          weights.readBytes(name, start * columns, into.subarray(0, count * columns)),
        readScales: (start: number, count: number) => readGridRows(weights, scale, grid, start, count),
      }
      return codedRows(matrix, exactType)
    },
  }
}

async function typeOfScales(weights: TensorSource, scale: SafetensorsTensor): Promise<TensorType | null> {
  const scales = await readScaleValues(weights, scale)
  const { least, largest } = HALF_SCALES
  return scales.every((value) => value >= least && value <= largest && 2 ** Math.round(Math.log2(value)) === value)
    ? 'f16'
    : null
}
