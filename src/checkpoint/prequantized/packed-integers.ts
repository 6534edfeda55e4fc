import { FileError } from '../../errors.js'
import type { SafetensorsTensor, TensorSource } from '../safetensors.js'
import { bitsAt, streamWords } from './bit-stream.js'
import {
  type CodedLayout,
  type CodedMatrix,
  codedRows,
  exactTypeOf,
  type ScaleRows,
  unsignedCodes,
} from './coded-matrix.js'
import { gridOf, type WeightScheme } from './compressed-scheme.js'
import { fitsGrid, type ScaleGrid } from './grid.js'
import {
  ambiguous,
  checkPart,
  matrixShape,
  readScaleValues,
  readWords,
  requirePart,
  SCALE_DTYPES,
  sameShape,
  wrongPart,
} from './parts.js'
import type { QuantizedTensor } from './quantized-tensor.js'

interface PackedMatrix {
  readonly packed: SafetensorsTensor
  readonly scale: SafetensorsTensor
  readonly zeroPart: SafetensorsTensor | null
  readonly groupIndices: SafetensorsTensor | null
  readonly rows: number
  readonly columns: number
  readonly bits: number
  readonly grid: ScaleGrid
  /** Whether numbers run on over words; older versions put as many as fit in each. */
  readonly dense: boolean
}

/**
 * A pack-quantized matrix: X.weight_packed I32 [out, in * bits / 32] keeps q + 2^(bits - 1), the lowest bits first,
 * X.weight_shape the matrix's shape, X.weight_scale the scales, X.weight_zero_point zero points packed likewise along `out`,
 * X.weight_g_idx the group of each column. w = (q - zero) * scale.
 */
export async function packedTensor(
  weights: TensorSource,
  module: string,
  packed: SafetensorsTensor,
  schemes: readonly WeightScheme[],
): Promise<QuantizedTensor> {
  const matrix = await describe(weights, module, packed, schemes)
  const { scale, zeroPart, groupIndices, rows, columns, bits } = matrix
  const exactType = exactTypeOf(await layoutOf(weights, matrix), await readGrid(weights, matrix))
  return {
    name: `${module}.weight`,
    shape: [rows, columns],
    parts: [packed, scale, zeroPart, groupIndices].flatMap((part) => part?.name ?? []).concat(`${module}.weight_shape`),
    scheme: `compressed-tensors int${bits}`,
    exactType,
    open: async () => codedRows(await openMatrix(weights, matrix), exactType),
  }
}

async function describe(
  weights: TensorSource,
  module: string,
  packed: SafetensorsTensor,
  schemes: readonly WeightScheme[],
): Promise<PackedMatrix> {
  checkPart(weights, packed, ['I32'])
  const [height, width] = matrixShape(weights, packed)
  const shapePart = requirePart(weights, `${module}.weight_shape`, packed.name)
  checkPart(weights, shapePart, ['I64', 'I32'], [2])
  const [rows = 0, columns = 0] = await weights.readIntegers(shapePart.name)
  const scale = requirePart(weights, `${module}.weight_scale`, packed.name)
  checkPart(weights, scale, SCALE_DTYPES)
  const zeroPart = weights.tensors.get(`${module}.weight_zero_point`) ?? null
  const fits = (scheme: WeightScheme): boolean =>
    scheme.type === 'int' &&
    packings(columns, scheme.bits).includes(width) &&
    fitsGrid(scale, gridOf(scheme, rows, columns), rows, columns)
  const fitting = rows === height && columns > 0 ? schemes.filter(fits) : []
  const [scheme] = fitting
  if (scheme === undefined) {
    throw wrongPart(weights, packed, `what weight_shape [${rows}, ${columns}] and the scales' shape make it`)
  }
  const grid = gridOf(scheme, rows, columns)
  const differs = (other: WeightScheme): boolean =>
    other.bits !== scheme.bits || JSON.stringify(gridOf(other, rows, columns)) !== JSON.stringify(grid)
  if (fitting.some(differs)) throw ambiguous(weights, packed)
  const { bits } = scheme
  const [dense, loose] = packings(columns, bits)
  if (dense === loose && 32 % bits !== 0 && columns * bits > 32) throw ambiguous(weights, packed)
  if (zeroPart === null && fitting.every(({ symmetric }) => !symmetric)) {
    requirePart(weights, `${module}.weight_zero_point`, packed.name)
  }
  const described = { packed, scale, zeroPart, rows, columns, bits, grid, dense: width === dense }
  checkZeros(weights, described)
  const groupIndices = weights.tensors.get(`${module}.weight_g_idx`) ?? null
  if (groupIndices !== null) checkPart(weights, groupIndices, ['I32', 'I64'], [columns])
  return { ...described, groupIndices }
}

/** Words that a run of numbers takes: run together, or as many as fit in each word. */
function packings(count: number, bits: number): [dense: number, loose: number] {
  return [streamWords(count, bits), Math.ceil(count / Math.floor(32 / bits))]
}

/** Zero points are packed along the rows, or whole bytes in the shape of the scales. */
function checkZeros(weights: TensorSource, matrix: Omit<PackedMatrix, 'groupIndices'>): void {
  const { zeroPart, scale, rows, bits, grid, dense } = matrix
  if (zeroPart === null) return
  if (zeroPart.dtype === 'I8' && sameShape(zeroPart.shape, scale.shape)) return
  checkPart(weights, zeroPart, ['I32'], [packings(rows, bits)[dense ? 0 : 1], grid.groups])
  if (grid.rowsPerScale !== 1) throw wrongPart(weights, zeroPart, `I8 [${scale.shape.join(', ')}]`)
}

async function layoutOf(weights: TensorSource, matrix: PackedMatrix): Promise<CodedLayout> {
  const { grid, columns, bits } = matrix
  return { ...grid, columns, table: unsignedCodes(bits), groupOf: await readGroups(weights, matrix) }
}

async function openMatrix(weights: TensorSource, matrix: PackedMatrix): Promise<CodedMatrix> {
  const { packed, columns, bits, grid, dense } = matrix
  const width = packed.shape[1]!
  const { scales, zeros } = await readGrid(weights, matrix)
  let words = new Uint32Array(0)
  return {
    ...(await layoutOf(weights, matrix)),
    async readCodes(start, count, into) {
      if (words.length < count * width) words = new Uint32Array(count * width)
      await weights.readBytes(packed.name, start * width * 4, new Uint8Array(words.buffer, 0, count * width * 4))
      for (let row = 0; row < count; row++) {
        for (let column = 0; column < columns; column++) {
          into[row * columns + column] = codeAt(words, column, bits, dense, row * width, 1)
        }
      }
    },
    async readScales(start, count) {
      return {
        scales: scales.subarray(start * grid.groups, (start + count) * grid.groups),
        zeros: zeros?.subarray(start * grid.groups, (start + count) * grid.groups) ?? null,
      }
    },
  }
}

function codeAt(
  words: Uint32Array,
  index: number,
  bits: number,
  dense: boolean,
  first: number,
  stride: number,
): number {
  if (dense) return bitsAt(words, index, bits, first, stride)
  const perWord = Math.floor(32 / bits)
  return bitsAt(words, index % perWord, bits, first + Math.floor(index / perWord) * stride)
}

/** Scales and zero points, these in the same unsigned form as the codes. */
async function readGrid(weights: TensorSource, matrix: PackedMatrix): Promise<ScaleRows> {
  const { scale, zeroPart, rows, bits, grid, dense } = matrix
  const scales = await readScaleValues(weights, scale)
  const offset = 2 ** (bits - 1)
  const zeros = new Int16Array(scales.length).fill(offset)
  if (zeroPart?.dtype === 'I8') {
    const stored = await weights.readIntegers(zeroPart.name)
    for (const [i, zero] of stored.entries()) {
      if (zero < -offset || zero >= offset) {
        throw new FileError(
          weights.fileOf(zeroPart.name),
          `tensor ${zeroPart.name} holds ${zero}, which ${bits} bits do not`,
        )
      }
      zeros[i] = zero + offset
    }
  } else if (zeroPart !== null) {
    const words = await readWords(weights, zeroPart.name)
    for (let row = 0; row < rows; row++) {
      for (let group = 0; group < grid.groups; group++) {
        zeros[row * grid.groups + group] = codeAt(words, row, bits, dense, group, grid.groups)
      }
    }
  }
  return { scales, zeros }
}

/** The group of each column; null where they come in order, which -1 everywhere says too. */
async function readGroups(weights: TensorSource, matrix: PackedMatrix): Promise<Uint32Array | null> {
  const { groupIndices, grid } = matrix
  if (groupIndices === null) return null
  const indices = await weights.readIntegers(groupIndices.name)
  if (indices.every((group) => group === -1)) return null
  for (const [column, group] of indices.entries()) {
    if (group >= 0 && group < grid.groups) continue
    throw new FileError(
      weights.fileOf(groupIndices.name),
      `tensor ${groupIndices.name} gives group ${group} for column ${column}, there are ${grid.groups}`,
    )
  }
  const inOrder = indices.every((group, column) => group === Math.floor(column / grid.columnsPerScale))
  return inOrder ? null : Uint32Array.from(indices)
}
