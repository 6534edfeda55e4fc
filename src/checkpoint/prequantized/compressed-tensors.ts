import { FileError } from '../../errors.js'
import type { ConfigReader } from '../config-reader.js'
import { isFloat8 } from '../float8.js'
import type { SafetensorsTensor, TensorSource } from '../safetensors.js'
import { codedRows, exactTypeOf, type ScaleRows, SIGNED_BYTES } from './coded-matrix.js'
import { gridOf, type WeightScheme, weightSchemes } from './compressed-scheme.js'
import { float8Tensor } from './float8-weights.js'
import { fitsGrid, type ScaleGrid } from './grid.js'
import { mxfp4Tensor } from './mxfp4.js'
import { nvfp4Tensor } from './nvfp4.js'
import { packedTensor } from './packed-integers.js'
import { ambiguous, checkPart, matrixShape, readScaleValues, requirePart, SCALE_DTYPES, wrongPart } from './parts.js'
import type { QuantizedTensor } from './quantized-tensor.js'

/**
 * The matrices of a checkpoint of compressed-tensors (llm-compressor): pack-quantized whole numbers of 1 to 8 bits,
 * int-quantized I8, float-quantized F8_E4M3, and the packed NVFP4 and MXFP4. Which of several schemes a matrix has is told by
 * the dtypes and shapes of its parts.
 */
export async function compressedTensors(weights: TensorSource, quantization: ConfigReader): Promise<QuantizedTensor[]> {
  const schemes = weightSchemes(quantization)
  const tensors: QuantizedTensor[] = []
  for (const part of weights.tensors.values()) {
    const tensor = await tensorOf(weights, part, schemes)
    if (tensor !== null) tensors.push(tensor)
  }
  return tensors
}

async function tensorOf(
  weights: TensorSource,
  part: SafetensorsTensor,
  schemes: readonly WeightScheme[],
): Promise<QuantizedTensor | null> {
  const { name, dtype } = part
  if (name.endsWith('.weight_packed')) {
    const module = name.slice(0, -'.weight_packed'.length)
    return dtype === 'U8' ? packedFloats(weights, module, part, schemes) : packedTensor(weights, module, part, schemes)
  }
  if (!name.endsWith('.weight') || !(dtype === 'I8' || isFloat8(dtype))) return null
  const [rows, columns] = matrixShape(weights, part)
  const scale = requirePart(weights, `${name}_scale`, name)
  const type = dtype === 'I8' ? 'int' : 'float'
  const exponents = scale.dtype === 'U8' || scale.dtype === 'F8_E8M0'
  const fitting = schemes
    .filter((scheme) => scheme.type === type && (dtype === 'I8' || scheme.bits === 8))
    .map((scheme) => ({ scheme, grid: gridOf(scheme, rows, columns) }))
    .filter(({ grid }) => fitsGrid(scale, grid, rows, columns))
  const [first] = fitting
  if (first === undefined)
    throw wrongPart(weights, scale, `scales of a scheme of type ${type} for [${rows}, ${columns}]`)
  if (fitting.some(({ grid }) => !sameGrid(grid, first.grid, rows, columns))) throw ambiguous(weights, part)
  if (type === 'int') {
    return integerTensor(
      weights,
      part,
      scale,
      first.grid,
      fitting.every(({ scheme }) => !scheme.symmetric),
    )
  }
  // An exponent in a byte stands for itself only where 32 columns share it (MXFP8).
  checkPart(weights, scale, exponents && first.scheme.groupSize === 32 ? ['U8', 'F8_E8M0'] : SCALE_DTYPES)
  const zeroPoints = weights.tensors.get(`${name}_zero_point`)
  if (zeroPoints !== undefined) await requireZeros(weights, zeroPoints)
  const tensor = await float8Tensor(weights, part, scale, first.grid)
  return zeroPoints === undefined ? tensor : { ...tensor, parts: [...tensor.parts, zeroPoints.name] }
}

async function packedFloats(
  weights: TensorSource,
  module: string,
  part: SafetensorsTensor,
  schemes: readonly WeightScheme[],
): Promise<QuantizedTensor> {
  const globalScale = `${module}.weight_global_scale`
  const floats = schemes.filter(({ type, bits }) => type === 'float' && bits === 4)
  const name = `${module}.weight`
  if (weights.tensors.has(globalScale) && floats.some(({ groupSize }) => groupSize === 16)) {
    return nvfp4Tensor(weights, module, part, { name: globalScale, reciprocal: true })
  }
  if (!floats.some(({ groupSize }) => groupSize === 32)) {
    throw wrongPart(weights, part, 'a scheme with 4-bit floats in groups of 16 (with weight_global_scale) or 32')
  }
  const [rows, bytes] = matrixShape(weights, part)
  const scales = requirePart(weights, `${name}_scale`, part.name)
  checkPart(weights, scales, ['U8', 'F8_E8M0'], [rows, bytes / 16])
  return mxfp4Tensor(weights, name, part, scales, [rows, bytes * 2])
}

/** X.weight I8 [out, in]: (q - zero) * scale, zero points I8 and shaped as the scales. */
async function integerTensor(
  weights: TensorSource,
  part: SafetensorsTensor,
  scale: SafetensorsTensor,
  grid: ScaleGrid,
  needsZeros: boolean,
): Promise<QuantizedTensor> {
  const [rows, columns] = matrixShape(weights, part)
  checkPart(weights, scale, SCALE_DTYPES)
  const zeroName = `${part.name}_zero_point`
  const zeroPart = needsZeros ? requirePart(weights, zeroName, part.name) : (weights.tensors.get(zeroName) ?? null)
  if (zeroPart !== null) checkPart(weights, zeroPart, ['I8'], scale.shape)
  const readAll = async (): Promise<ScaleRows> => ({
    scales: await readScaleValues(weights, scale),
    zeros: zeroPart === null ? null : Int16Array.from(await weights.readIntegers(zeroPart.name)),
  })
  const layout = { ...grid, columns, table: SIGNED_BYTES, groupOf: null }
  const exactType = exactTypeOf(layout, await readAll())
  return {
    name: part.name,
    shape: [rows, columns],
    parts: [part, scale, zeroPart].flatMap((stored) => stored?.name ?? []),
    scheme: 'compressed-tensors int8',
    exactType,
    open: async () => {
      const { scales, zeros } = await readAll()
      const matrix = {
        ...layout,
        readCodes: (start: number, count: number, into: Uint8Array) =>
          weights.readBytes(part.name, start * columns, into.subarray(0, count * columns)),
        readScales: async (start: number, count: number) => ({
          scales: scales.subarray(start * grid.groups, (start + count) * grid.groups),
          zeros: zeros?.subarray(start * grid.groups, (start + count) * grid.groups) ?? null,
        }),
      }
      return codedRows(matrix, exactType)
    },
  }
}

/** Whether two grids give every element the same scale. */
function sameGrid(a: ScaleGrid, b: ScaleGrid, rows: number, columns: number): boolean {
  return (
    Math.min(a.rowsPerScale, rows) === Math.min(b.rowsPerScale, rows) &&
    Math.min(a.columnsPerScale, columns) === Math.min(b.columnsPerScale, columns)
  )
}

/** Floats are symmetric: where old files keep zero points for them, these say nothing. */
async function requireZeros(weights: TensorSource, part: SafetensorsTensor): Promise<void> {
  const bytes = new Uint8Array(part.bytes)
  await weights.readBytes(part.name, 0, bytes)
  if (bytes.every((byte) => byte === 0)) return
  throw new FileError(weights.fileOf(part.name), `tensor ${part.name} holds zero points, which floats have none of`)
}
