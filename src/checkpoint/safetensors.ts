import { FileError, InputError, UnsupportedError } from '../errors.js'
import { type FileReader, openReader } from './file-reader.js'
import { float8ToFloat32Array, isFloat8 } from './float8.js'
import { bfloat16ToFloat32Array, float16ToFloat32Array } from './float16.js'
import {
  MAX_HEADER_BYTES,
  parseSafetensorsHeader,
  SAFETENSORS_DTYPES,
  type SafetensorsTensor,
} from './safetensors-header.js'
import type { TensorType } from './tensor-type.js'

export type { SafetensorsDtype, SafetensorsTensor } from './safetensors-header.js'

/** Rows of a tensor: all dimensions but the last are counted as rows; the values of a list are rows of one value each. */
export interface RowRange {
  readonly start: number
  readonly count: number
}

/** Rows of a tensor as they stand in a GGUF file. */
export interface ExactBlocks {
  readonly type: TensorType
  /** Fills `out` with these rows, encoded; counted as in `readFloats`. */
  readRows(rows: RowRange, out: Uint8Array): Promise<void>
}

/** Tensors of a checkpoint, in one file or spread over several. */
export interface TensorSource {
  readonly tensors: ReadonlyMap<string, SafetensorsTensor>
  /** The file that holds this tensor. */
  fileOf(name: string): string
  /**
   * Values of an F32, F16, BF16 or F8 tensor (or of some of its rows), row-major. Reads only their bytes.
   * @param out used for the result where given; it must be large enough
   */
  readFloats(name: string, rows?: RowRange, out?: Float32Array): Promise<Float32Array>
  /** A tensor's bytes as they lie in the file: fills `into` from `position` of the tensor on. */
  readBytes(name: string, position: number, into: Uint8Array): Promise<void>
  /** Values of a tensor of whole numbers: I8, U8, BOOL, I16, I32 or I64. */
  readIntegers(name: string): Promise<number[]>
  /**
   * A quantised matrix in the blocks of a GGUF type that keeps every value; null where no type does, or the tensor is not
   * quantised.
   */
  exactBlocks?(name: string): ExactBlocks | null
  close(): Promise<void>
}

export interface SafetensorsFile extends TensorSource {
  readonly path: string
  readonly metadata: Readonly<Record<string, string>>
}

/** Opens a safetensors file and checks its header; no tensor is read yet. Errors: FileError. */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  const reader = await openReader(path)
  try {
    const { tensors, metadata } = await readHeader(reader)
    const find = (name: string): SafetensorsTensor => {
      const tensor = tensors.get(name)
      if (tensor === undefined) throw new FileError(path, `has no tensor ${name}`)
      return tensor
    }
    return {
      path,
      tensors,
      metadata,
      fileOf: () => path,
      readFloats: async (name, rows, out) => readFloats(reader, find(name), rows, out),
      readBytes: async (name, position, into) => readBytes(reader, find(name), position, into),
      readIntegers: async (name) => readIntegers(reader, find(name)),
      close: () => reader.close(),
    }
  } catch (error) {
    await reader.close()
    throw error
  }
}

async function readHeader(reader: FileReader): Promise<ReturnType<typeof parseSafetensorsHeader>> {
  const { path, size } = reader
  if (size < 8) throw new FileError(path, `is too short for a safetensors file (${size} bytes)`)
  const prefix = new Uint8Array(8)
  await reader.read(prefix, 0)
  const length = new DataView(prefix.buffer).getBigUint64(0, true)
  if (length > BigInt(size - 8)) {
    throw new FileError(path, `is no safetensors file, or truncated: its header would take ${length} of ${size} bytes`)
  }
  if (length > BigInt(MAX_HEADER_BYTES)) {
    throw new FileError(path, `its safetensors header of ${length} bytes is over the limit of ${MAX_HEADER_BYTES}`)
  }
  const json = new Uint8Array(Number(length))
  await reader.read(json, 8)
  return parseSafetensorsHeader(path, json, size)
}

async function readFloats(
  reader: FileReader,
  tensor: SafetensorsTensor,
  rows?: RowRange,
  out?: Float32Array,
): Promise<Float32Array> {
  const { dtype, name } = tensor
  if (dtype !== 'F32' && dtype !== 'F16' && dtype !== 'BF16' && !isFloat8(dtype)) {
    throw new UnsupportedError(`${reader.path}: tensor ${name} is ${dtype}; Shoal reads F32, F16, BF16 and F8`)
  }
  const { first, count } = elements(tensor, rows)
  if (out !== undefined && out.length < count) throw new InputError(`${name}: ${count} values do not fit ${out.length}`)
  const values = out === undefined ? new Float32Array(count) : out.subarray(0, count)
  const position = tensor.offset + first * SAFETENSORS_DTYPES[dtype]
  if (dtype === 'F32') {
    await reader.read(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), position)
    return values
  }
  // As below, with one byte of bits for four of values.
  if (isFloat8(dtype)) {
    const bits = new Uint8Array(values.buffer, values.byteOffset + 3 * count, count)
    await reader.read(bits, position)
    return float8ToFloat32Array(dtype, bits, values)
  }
  // The bits go into the upper half of the result and expand in place, from the front: value i is written at bytes 4i,
  // bits i lie at 2 x count + 2i, so none is overwritten before it is read. A buffer of their own would cost memory.
  const bits = new Uint16Array(values.buffer, values.byteOffset + 2 * count, count)
  await reader.read(new Uint8Array(values.buffer, bits.byteOffset, bits.byteLength), position)
  return dtype === 'F16' ? float16ToFloat32Array(bits, values) : bfloat16ToFloat32Array(bits, values)
}

async function readBytes(
  reader: FileReader,
  { name, offset, bytes }: SafetensorsTensor,
  position: number,
  into: Uint8Array,
): Promise<void> {
  if (!Number.isSafeInteger(position) || position < 0 || position + into.length > bytes) {
    throw new InputError(`tensor ${name} has ${bytes} bytes, not ${position} .. ${position + into.length - 1}`)
  }
  await reader.read(into, offset + position)
}

async function readIntegers(reader: FileReader, tensor: SafetensorsTensor): Promise<number[]> {
  const { dtype, name } = tensor
  const bytes = new Uint8Array(tensor.bytes)
  const read = (): Promise<void> => reader.read(bytes, tensor.offset)
  switch (dtype) {
    case 'I8':
      await read()
      return Array.from(new Int8Array(bytes.buffer))
    case 'U8':
    case 'BOOL':
      await read()
      return Array.from(bytes)
    case 'I16':
      await read()
      return Array.from(new Int16Array(bytes.buffer))
    case 'I32':
      await read()
      return Array.from(new Int32Array(bytes.buffer))
    case 'I64':
      await read()
      return Array.from(new BigInt64Array(bytes.buffer), (value) => {
        if (!Number.isSafeInteger(Number(value))) throw new FileError(reader.path, `tensor ${name} holds ${value}`)
        return Number(value)
      })
    default:
      throw new UnsupportedError(
        `${reader.path}: tensor ${name} is ${dtype}, no type of whole numbers that Shoal reads`,
      )
  }
}

/** The range of elements that these rows take. */
function elements(tensor: SafetensorsTensor, rows?: RowRange): { first: number; count: number } {
  const total = tensor.shape.reduce((product, n) => product * n, 1)
  if (rows === undefined) return { first: 0, count: total }
  const { shape } = tensor
  const height = shape.length < 2 ? (shape[0] ?? 1) : shape.slice(0, -1).reduce((product, n) => product * n, 1)
  const { start, count } = rows
  if (
    !Number.isSafeInteger(start) ||
    !Number.isSafeInteger(count) ||
    start < 0 ||
    count < 0 ||
    start + count > height
  ) {
    throw new InputError(`tensor ${tensor.name} has ${height} rows, not ${start} .. ${start + count - 1}`)
  }
  const width = height === 0 ? 0 : total / height
  return { first: start * width, count: count * width }
}
