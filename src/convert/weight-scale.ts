import type { GgufFile, GgufTensor } from '../checkpoint/gguf-file.js'
import { FileError } from '../errors.js'
import type { GgufReader } from './gguf-tensor.js'

/**
 * Factors that a file keeps beside an NVFP4 matrix, by the matrix's name. `scale` multiplies what the matrix gives: one number, or one
 * for each expert of a stack. `inputScale` serves processors that compute in four bits, and nothing here.
 */
export interface ScaleTensors {
  readonly scale: GgufTensor | null
  readonly inputScale: GgufTensor | null
}

/** @throws FileError where the factors do not fit the matrix */
export function scaleTensors({ tensors, parts }: GgufFile, matrix: GgufTensor): ScaleTensors {
  const stem =
    matrix.type === 'nvfp4' && matrix.name.endsWith('.weight') ? matrix.name.slice(0, -'weight'.length) : null
  const scale = (stem !== null && tensors.get(`${stem}scale`)) || null
  const inputScale = (stem !== null && tensors.get(`${stem}input_scale`)) || null
  for (const tensor of [scale, inputScale]) {
    if (tensor === null) continue
    const { name, shape, type } = tensor
    const count = shape.reduce((product, n) => product * n, 1)
    if (type === 'f32' && shape.length <= 1 && (count === 1 || count === matrix.shape[2])) continue
    throw new FileError(
      parts[tensor.part]!.path,
      `tensor ${name} is ${type} [${shape.join(', ')}], no factor for ${matrix.name}`,
    )
  }
  return { scale, inputScale }
}

/** The factors as numbers: one, or one for each matrix of a stack. */
export async function readScale(reader: GgufReader, scale: GgufTensor): Promise<Float32Array> {
  const bytes = new Uint8Array(scale.bytes)
  await reader.read(scale, bytes, 0)
  return new Float32Array(bytes.buffer)
}

/**
 * Multiplies rows by the factors of their matrices.
 * @param start the first row, counted through the stack @param height rows of one matrix
 */
export function scaleRows(
  block: Float32Array,
  columns: number,
  factors: Float32Array,
  start: number,
  height: number,
): void {
  for (let i = 0; i < block.length; i++) {
    const matrix = factors.length === 1 ? 0 : Math.floor((start + Math.floor(i / columns)) / height)
    block[i] = block[i]! * factors[matrix]!
  }
}
