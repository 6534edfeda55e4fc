import { FileError } from '../../errors.js'
import { float8ToFloat32Array } from '../float8.js'
import { bfloat16ToFloat32Array, float16ToFloat32Array } from '../float16.js'
import type { SafetensorsDtype, SafetensorsTensor, TensorSource } from '../safetensors.js'
import { SAFETENSORS_DTYPES } from '../safetensors-header.js'

/** Floats that a scale may be stored as. */
export const SCALE_DTYPES = ['F32', 'F16', 'BF16'] as const

/**
 * The stored part with this name.
 * @param owner the part that it belongs to, for the message
 * @throws FileError where it is missing
 */
export function requirePart(weights: TensorSource, name: string, owner: string): SafetensorsTensor {
  const part = weights.tensors.get(name)
  if (part === undefined) throw new FileError(weights.fileOf(owner), `tensor ${owner} has no ${name} beside it`)
  return part
}

/** Checks dtype and shape of a part. @throws FileError */
export function checkPart(
  weights: TensorSource,
  part: SafetensorsTensor,
  dtypes: readonly SafetensorsDtype[],
  ...shapes: readonly (readonly number[])[]
): void {
  if (!dtypes.includes(part.dtype)) throw wrongPart(weights, part, `${dtypes.join(' or ')}`)
  if (shapes.length > 0 && !shapes.some((shape) => sameShape(part.shape, shape))) {
    throw wrongPart(weights, part, shapes.map((shape) => `[${shape.join(', ')}]`).join(' or '))
  }
}

/** The error of a part that is not what its scheme and config.json make it. */
export function wrongPart(
  weights: TensorSource,
  { name, dtype, shape }: SafetensorsTensor,
  expected: string,
): FileError {
  return new FileError(
    weights.fileOf(name),
    `tensor ${name} is ${dtype} [${shape.join(', ')}], ${expected} was expected from config.json and the tensors beside it`,
  )
}

/** The error of a part that more than one scheme could have made. */
export function ambiguous(weights: TensorSource, part: SafetensorsTensor): FileError {
  return new FileError(
    weights.fileOf(part.name),
    `tensor ${part.name} fits several schemes of quantization_config, and nothing stored tells which it has`,
  )
}

export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((n, i) => n === b[i])
}

export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1)
}

/** Rows and columns of a matrix that must have two dimensions, neither of them empty. */
export function matrixShape(weights: TensorSource, part: SafetensorsTensor): [rows: number, columns: number] {
  const [rows, columns] = part.shape
  if (part.shape.length !== 2 || rows === undefined || columns === undefined || rows * columns === 0) {
    throw wrongPart(weights, part, 'a matrix')
  }
  return [rows, columns]
}

/** A whole part as 32-bit words. */
export async function readWords(weights: TensorSource, name: string): Promise<Uint32Array> {
  const words = new Uint32Array(weights.tensors.get(name)!.bytes / 4)
  await weights.readBytes(name, 0, new Uint8Array(words.buffer))
  return words
}

/**
 * Elements `first` .. `first + count - 1` of a part of scales, E8M0 also where it is stored as U8.
 * @throws FileError where one is NaN or infinite
 */
export async function readScaleValues(
  weights: TensorSource,
  part: SafetensorsTensor,
  first = 0,
  count = elementCount(part.shape),
): Promise<Float32Array> {
  const size = SAFETENSORS_DTYPES[part.dtype]
  const bytes = new Uint8Array(count * size)
  await weights.readBytes(part.name, first * size, bytes)
  const values = floatsOf(part, bytes)
  // By index: these run over every scale of a model.
  for (let i = 0; i < values.length; i++) {
    if (Number.isFinite(values[i]!)) continue
    throw new FileError(weights.fileOf(part.name), `tensor ${part.name} holds ${values[i]}: the checkpoint is damaged`)
  }
  return values
}

function floatsOf({ dtype, name }: SafetensorsTensor, bytes: Uint8Array<ArrayBuffer>): Float32Array {
  switch (dtype) {
    case 'F32':
      return new Float32Array(bytes.buffer)
    case 'F16':
      return float16ToFloat32Array(new Uint16Array(bytes.buffer), new Float32Array(bytes.length / 2))
    case 'BF16':
      return bfloat16ToFloat32Array(new Uint16Array(bytes.buffer), new Float32Array(bytes.length / 2))
    case 'F8_E4M3':
    case 'F8_E8M0':
      return float8ToFloat32Array(dtype, bytes, new Float32Array(bytes.length))
    case 'U8':
      return float8ToFloat32Array('F8_E8M0', bytes, new Float32Array(bytes.length))
    default:
      throw new TypeError(`${name}: ${dtype} is no dtype of scales`)
  }
}
