import { FileError } from '../errors.js'
import { duplicateKey, isJsonObject, parseJsonObject } from '../json.js'

/** Bytes per element of the dtypes in safetensors files; those below a byte fill whole bytes together. */
export const SAFETENSORS_DTYPES = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
  C64: 8,
  F8_E4M3: 1,
  F8_E5M2: 1,
  F8_E8M0: 1,
  F8_E4M3FNUZ: 1,
  F8_E5M2FNUZ: 1,
  F6_E2M3: 0.75,
  F6_E3M2: 0.75,
  F4: 0.5,
} as const

export type SafetensorsDtype = keyof typeof SAFETENSORS_DTYPES

export interface SafetensorsTensor {
  readonly name: string
  readonly dtype: SafetensorsDtype
  /** Row-major: the last dimension is contiguous. */
  readonly shape: readonly number[]
  /** Position of the first byte in the file. */
  readonly offset: number
  readonly bytes: number
}

/** The format's own limit, 100 MB of header. */
export const MAX_HEADER_BYTES = 100_000_000

/**
 * Checks and reads a safetensors header: known dtypes, whole shapes, sizes that equal shape x dtype, no two tensors
 * of one name, no overlap, no hole, no byte left over (the rules of the format's reference reader).
 * @param json the header's bytes, without the 8 of its length
 * @param fileBytes size of the whole file
 */
export function parseSafetensorsHeader(
  path: string,
  json: Uint8Array,
  fileBytes: number,
): { tensors: Map<string, SafetensorsTensor>; metadata: Record<string, string> } {
  if (json[0] !== 0x7b) throw new FileError(path, 'the safetensors header does not start with {')
  const text = decodeUtf8(path, json)
  const header = parseJsonObject(path, text, 'safetensors header')
  const twice = duplicateKey(text)
  if (twice !== null) throw new FileError(path, `the safetensors header has ${JSON.stringify(twice)} twice`)

  const dataStart = 8 + json.length
  const tensors = new Map<string, SafetensorsTensor>()
  let metadata: Record<string, string> = {}
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') metadata = parseMetadata(path, entry)
    else tensors.set(name, parseEntry(path, name, entry, dataStart))
  }
  checkLayout(path, [...tensors.values()], dataStart, fileBytes)
  return { tensors, metadata }
}

function parseMetadata(path: string, entry: unknown): Record<string, string> {
  if (!isJsonObject(entry) || !Object.values(entry).every((v) => typeof v === 'string')) {
    throw new FileError(path, '__metadata__ of the safetensors header must map strings to strings')
  }
  return { ...entry } as Record<string, string>
}

function parseEntry(path: string, name: string, entry: unknown, dataStart: number): SafetensorsTensor {
  const wrong = (reason: string): FileError => new FileError(path, `tensor ${name}: ${reason}`)
  if (!isJsonObject(entry)) throw wrong('its header entry is not an object')
  const { dtype, shape, data_offsets: offsets } = entry
  if (typeof dtype !== 'string' || !Object.hasOwn(SAFETENSORS_DTYPES, dtype)) {
    throw wrong(`unknown dtype ${JSON.stringify(dtype)}`)
  }
  if (!Array.isArray(shape) || !shape.every(isCount)) throw wrong('its shape is not a list of whole numbers >= 0')
  const [begin, end, ...rest] = Array.isArray(offsets) ? (offsets as unknown[]) : []
  if (!isCount(begin) || !isCount(end) || rest.length > 0 || begin > end) {
    throw wrong('data_offsets is not [begin, end] with begin <= end')
  }
  const size = SAFETENSORS_DTYPES[dtype as SafetensorsDtype]
  const expected = (shape as number[]).reduce((product, n) => product * n, size)
  if (!Number.isSafeInteger(expected) || expected !== end - begin) {
    throw wrong(`shape [${shape.join(', ')}] of ${dtype} takes ${expected} bytes, data_offsets give ${end - begin}`)
  }
  return { name, dtype: dtype as SafetensorsDtype, shape, offset: dataStart + begin, bytes: end - begin }
}

function checkLayout(path: string, tensors: SafetensorsTensor[], dataStart: number, fileBytes: number): void {
  tensors.sort((a, b) => a.offset - b.offset || a.bytes - b.bytes)
  let position = dataStart
  for (const tensor of tensors) {
    if (tensor.offset + tensor.bytes > fileBytes) {
      throw new FileError(path, `tensor ${tensor.name} ends beyond the file; the file is truncated or its header lies`)
    }
    if (tensor.offset < position) throw new FileError(path, `tensor ${tensor.name} overlaps the one before it`)
    if (tensor.offset > position) {
      throw new FileError(path, `${tensor.offset - position} bytes before tensor ${tensor.name} belong to none`)
    }
    position += tensor.bytes
  }
  if (position !== fileBytes) throw new FileError(path, `${fileBytes - position} bytes at its end belong to no tensor`)
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function decodeUtf8(path: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (error) {
    throw new FileError(path, 'the safetensors header is not UTF-8', 'file_invalid', { cause: error })
  }
}
