import { closeSync } from 'node:fs'
import { FileError, UnsupportedError } from '../errors.js'
import { Pace } from '../pace.js'
import { GgufCursor } from './gguf-cursor.js'
import type { GgufFile, GgufTensor } from './gguf-file.js'
import {
  alignUp,
  GGUF_DEFAULT_ALIGNMENT,
  GGUF_MAGIC,
  GGUF_MAX_DIMENSIONS,
  GGUF_MAX_KEY,
  GGUF_MAX_LIST,
  GGUF_MAX_LIST_BYTES,
  GGUF_MAX_NAME,
  GGUF_MAX_PAIRS,
  GGUF_MAX_STRING,
  GGUF_MAX_TENSORS,
  GGUF_VALUE_BYTES,
  GGUF_VALUE_TYPES,
  isAlignment,
} from './gguf-format.js'
import { LENGTH_BYTES, listOf } from './gguf-list.js'
import { GgufMetadata } from './gguf-metadata.js'
import { joinParts } from './gguf-split.js'
import type { GgufScalarType, GgufValue } from './gguf-value.js'
import { openRegularSync } from './regular-file.js'
import { rowBytes, TENSOR_TYPES, type TensorType, tensorTypeById, unknownTypeReason } from './tensor-type.js'

/**
 * Reads and checks the header of a GGUF file (version 2 or 3, little endian), or those of all parts where it is the first
 * part of a split one. Every count and length is checked against the size of the file before anything is allocated;
 * tensors must lie in the file and not overlap.
 * Errors: FileError, or UnsupportedError for what the format allows and Shoal does not know.
 */
export async function readGguf(path: string): Promise<GgufFile> {
  return joinParts(await readPart(path), readPart)
}

async function readPart(path: string): Promise<GgufFile> {
  const { fd, size, stamp } = openRegularSync(path)
  try {
    return await parse(new GgufCursor(path, fd, size), stamp)
  } finally {
    closeSync(fd)
  }
}

async function parse(cursor: GgufCursor, stamp: string): Promise<GgufFile> {
  const { path, size } = cursor
  readVersion(cursor)
  // The smallest tensor entry: name length, one byte of name, no dimensions, type, offset.
  const tensorCount = cursor.count('the number of tensors', 25, GGUF_MAX_TENSORS)
  // The smallest pair: key length, one byte of key, type, one byte of value.
  const pairCount = cursor.count('the number of metadata keys', 14, GGUF_MAX_PAIRS)
  const pace = new Pace()
  const metadata = await readMetadata(cursor, pairCount, pace)
  const alignment = metadata.has('general.alignment') ? metadata.count('general.alignment') : GGUF_DEFAULT_ALIGNMENT
  if (!isAlignment(alignment)) throw new FileError(path, `general.alignment = ${alignment} is not a power of two >= 8`)

  const declared: GgufTensor[] = []
  for (let i = 0; i < tensorCount; i++) {
    declared.push(readTensor(cursor, i, alignment))
    const turn = pace.next()
    if (turn !== null) await turn
  }
  const dataOffset = alignUp(cursor.position, alignment)
  const tensors = new Map<string, GgufTensor>()
  for (const tensor of declared) {
    if (tensors.has(tensor.name)) throw new FileError(path, `has tensor ${tensor.name} twice`)
    tensors.set(tensor.name, { ...tensor, offset: dataOffset + tensor.offset })
  }
  checkLayout(path, [...tensors.values()], size)
  return { path, parts: [{ path, bytes: size, stamp }], bytes: size, metadata, tensors, dataOffset }
}

function readVersion(cursor: GgufCursor): void {
  const { path, size } = cursor
  if (size < 24 || cursor.uint32('the magic number') !== GGUF_MAGIC) throw new FileError(path, 'is not a GGUF file')
  const version = cursor.uint32('the version')
  if (version === 2 || version === 3) return
  // As llama.cpp tells them: the magic number is letters, which no order of bytes changes.
  const swapped = version !== 0 && (version & 0xffff) === 0
  throw new UnsupportedError(
    swapped
      ? `${path}: is a big-endian GGUF file; give a little-endian one of the same model`
      : `${path}: is GGUF version ${version}; Shoal reads 2 and 3`,
  )
}

async function readMetadata(cursor: GgufCursor, count: number, pace: Pace): Promise<GgufMetadata> {
  const metadata = new GgufMetadata(cursor.path)
  for (let i = 0; i < count; i++) {
    const key = cursor.name(`metadata key ${i}`, GGUF_MAX_KEY)
    if (key === '') throw new FileError(cursor.path, `metadata key ${i} is empty`)
    if (metadata.has(key)) throw new FileError(cursor.path, `has metadata key ${key} twice`)
    const what = `metadata key ${key}`
    const type = readValueType(cursor, what)
    metadata.values.set(key, type === 'array' ? await readList(cursor, what, pace) : readScalar(cursor, type, what))
    const turn = pace.next()
    if (turn !== null) await turn
  }
  return metadata
}

function readScalar(cursor: GgufCursor, type: GgufScalarType, what: string): GgufValue {
  switch (type) {
    case 'string':
      return { type, ...cursor.text(what) }
    case 'bool':
      return { type, value: cursor.bool(what) }
    case 'uint64':
      return { type, value: exact(cursor.bigUint64(what)) }
    case 'int64':
      return { type, value: exact(cursor.bigInt64(what)) }
    default:
      return { type, value: cursor[type](what) }
  }
}

/** As a number where that is exact: whether a key matters is not known here. */
function exact(value: bigint): number | bigint {
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : value
}

async function readList(cursor: GgufCursor, what: string, pace: Pace): Promise<GgufValue> {
  const { path } = cursor
  const of = readValueType(cursor, what)
  if (of === 'array') throw new UnsupportedError(`${path}: ${what} is a list of lists`)
  const count = cursor.count(`the length of ${what}`, GGUF_VALUE_BYTES[of], GGUF_MAX_LIST)
  const begin = cursor.position
  const starts = of === 'string' ? await passStrings(cursor, count, what, pace) : new Uint32Array()
  if (of !== 'string') cursor.skip(count * GGUF_VALUE_BYTES[of], what)
  const size = cursor.position - begin
  if (size > GGUF_MAX_LIST_BYTES) {
    throw new FileError(path, `${what} takes ${size} bytes, at most ${GGUF_MAX_LIST_BYTES} may be`)
  }
  return listOf(path, what, { of, count, bytes: cursor.again(begin, size, what), starts })
}

/** Passes over strings; returns where each begins, relative to the first one's length. */
async function passStrings(cursor: GgufCursor, count: number, what: string, pace: Pace): Promise<Uint32Array> {
  const starts = new Uint32Array(count + 1)
  let at = 0
  for (let i = 0; i < count; i++) {
    at += LENGTH_BYTES
    starts[i] = at
    const length = cursor.length(what, GGUF_MAX_STRING)
    cursor.skip(length, what)
    at += length
    if (at > GGUF_MAX_LIST_BYTES) {
      throw new FileError(cursor.path, `${what} takes more than the ${GGUF_MAX_LIST_BYTES} bytes that a list may`)
    }
    if (i % 4096 === 4095) {
      const turn = pace.next()
      if (turn !== null) await turn
    }
  }
  starts[count] = at + LENGTH_BYTES
  return starts
}

function readValueType(cursor: GgufCursor, what: string): GgufScalarType | 'array' {
  const id = cursor.uint32(what)
  const type = GGUF_VALUE_TYPES[id]
  if (type === undefined) throw new FileError(cursor.path, `${what} has the unknown type ${id}`)
  return type
}

/** One tensor entry; its offset is still relative to the data. */
function readTensor(cursor: GgufCursor, index: number, alignment: number): GgufTensor {
  const { path } = cursor
  const name = cursor.name(`the name of tensor ${index}`, GGUF_MAX_NAME)
  const what = `tensor ${name}`
  if (name === '') throw new FileError(path, `tensor ${index} has no name`)
  const dimensions = cursor.uint32(what)
  if (dimensions > GGUF_MAX_DIMENSIONS) throw new FileError(path, `${what} has ${dimensions} dimensions`)
  const shape = Array.from({ length: dimensions }, () => cursor.uint64(what))
  const id = cursor.uint32(what)
  const type = tensorTypeById(id)
  if (type === null) throw new UnsupportedError(`${path}: ${what} ${unknownTypeReason(id)}`)
  const offset = cursor.uint64(what)
  if (offset % alignment !== 0) throw new FileError(path, `${what} starts at ${offset}, not a multiple of ${alignment}`)
  return { name, part: 0, shape, type, offset, bytes: tensorBytes(path, what, shape, type) }
}

function tensorBytes(path: string, what: string, shape: readonly number[], type: TensorType): number {
  const [columns = 1] = shape
  const elements = shape.reduce((product, n) => product * n, 1)
  if (!Number.isSafeInteger(elements * 8)) {
    throw new FileError(path, `${what} has the impossible shape [${shape.join(', ')}]`)
  }
  const { blockSize } = TENSOR_TYPES[type]
  if (columns % blockSize !== 0) {
    throw new FileError(path, `${what} has rows of ${columns}, not a multiple of ${type}'s block of ${blockSize}`)
  }
  return elements === 0 ? 0 : rowBytes(type, columns) * (elements / columns)
}

function checkLayout(path: string, tensors: GgufTensor[], size: number): void {
  tensors.sort((a, b) => a.offset - b.offset || a.bytes - b.bytes)
  let end = 0
  let before = ''
  for (const { name, offset, bytes } of tensors) {
    if (offset < end) throw new FileError(path, `tensor ${name} overlaps ${before}`)
    end = offset + bytes
    before = name
    if (end > size) {
      throw new FileError(
        path,
        `tensor ${name} ends at byte ${end} of ${size}; the file is truncated or its header lies`,
      )
    }
  }
}
