import { InputError } from '../errors.js'
import { type AtomicFile, createAtomicFile } from './atomic-file.js'
import {
  alignUp,
  GGUF_DEFAULT_ALIGNMENT,
  GGUF_MAGIC,
  GGUF_MAX_DIMENSIONS,
  GGUF_MAX_KEY,
  GGUF_MAX_NAME,
  GGUF_VALUE_TYPES,
  GGUF_VERSION,
  isAlignment,
} from './gguf-format.js'
import { listBytes } from './gguf-list.js'
import type { GgufMetadata } from './gguf-metadata.js'
import type { GgufScalarType, GgufValue } from './gguf-value.js'
import { rowBytes, TENSOR_TYPES, type TensorType } from './tensor-type.js'

export interface GgufTensorDeclaration {
  readonly name: string
  /** ggml's order: ne[0], the columns, first. */
  readonly shape: readonly number[]
  readonly type: TensorType
}

/** A GGUF file being written: tensors are declared first and then filled in that order, each in as many parts as suits. */
export interface GgufWriter {
  /** Size of the finished file. */
  readonly bytes: number
  /** Appends to this tensor. */
  append(name: string, chunk: Uint8Array): Promise<void>
  /** Gives the file its name; throws where a tensor is incomplete. */
  finish(): Promise<void>
  /** Removes what was written; nothing after `finish`. */
  abort(): Promise<void>
}

/**
 * Starts a GGUF file of version 3. It appears under `path` only at `finish`; after an error nothing is left of it. Call
 * `abort` where the caller itself fails.
 */
export async function createGgufWriter(
  path: string,
  metadata: GgufMetadata,
  tensors: readonly GgufTensorDeclaration[],
): Promise<GgufWriter> {
  const alignment = metadata.has('general.alignment') ? metadata.count('general.alignment') : GGUF_DEFAULT_ALIGNMENT
  if (!isAlignment(alignment)) throw new InputError(`general.alignment = ${alignment} is not a power of two >= 8`)
  const places = new Map<string, { position: number; end: number }>()
  const header = encodeHeader(metadata, tensors, alignment, places)
  const last = [...places.values()].at(-1)?.end ?? 0
  const filled = [...places.values()].findLast(({ position, end }) => end > position)?.end ?? 0
  const bytes = header.length + alignUp(last, alignment)
  const file = await createAtomicFile(path)
  await file.write(header, 0)

  return {
    bytes,
    async append(name, chunk) {
      const place = places.get(name)
      if (place === undefined) throw new InputError(`tensor ${name} was not declared`)
      if (place.position + chunk.length > place.end)
        throw new InputError(`tensor ${name} gets more than its shape holds`)
      const position = header.length + place.position
      place.position += chunk.length
      await file.write(chunk, position)
    },
    async finish() {
      for (const [name, { position, end }] of places) {
        if (position === end) continue
        await file.abort()
        throw new InputError(`tensor ${name} lacks ${end - position} bytes`)
      }
      await pad(file, header.length + filled, bytes)
      await file.commit()
    },
    abort: () => file.abort(),
  }
}

/** A GGUF file without tensors. */
export function encodeGguf(metadata: GgufMetadata): Uint8Array {
  return encodeHeader(metadata, [], GGUF_DEFAULT_ALIGNMENT, new Map())
}

/** llama.cpp expects the last tensor padded too. Holes between tensors read as zeros by themselves. */
async function pad(file: AtomicFile, from: number, to: number): Promise<void> {
  if (to > from) await file.write(new Uint8Array(to - from), from)
}

function encodeHeader(
  metadata: GgufMetadata,
  tensors: readonly GgufTensorDeclaration[],
  alignment: number,
  places: Map<string, { position: number; end: number }>,
): Uint8Array {
  const out = new ByteWriter()
  out.uint32(GGUF_MAGIC)
  out.uint32(GGUF_VERSION)
  out.uint64(tensors.length)
  out.uint64(metadata.values.size)
  for (const [key, value] of metadata.values) {
    out.string(key, GGUF_MAX_KEY)
    encodeValue(out, key, value)
  }
  let position = 0
  for (const { name, shape, type } of tensors) {
    if (places.has(name)) throw new InputError(`tensor ${name} is declared twice`)
    const bytes = declaredBytes(name, shape, type)
    // ggml counts the closing zero too.
    out.string(name, GGUF_MAX_NAME - 1)
    out.uint32(shape.length)
    for (const n of shape) out.uint64(n)
    out.uint32(TENSOR_TYPES[type].id)
    out.uint64(position)
    places.set(name, { position, end: position + bytes })
    position = alignUp(position + bytes, alignment)
  }
  return out.finish(alignment)
}

function declaredBytes(name: string, shape: readonly number[], type: TensorType): number {
  const elements = shape.reduce((product, n) => product * n, 1)
  const fits = shape.every((n) => Number.isSafeInteger(n) && n >= 0) && Number.isSafeInteger(elements * 8)
  const [columns = 1] = shape
  if (shape.length > GGUF_MAX_DIMENSIONS || !fits) {
    throw new InputError(`tensor ${name}: [${shape.join(', ')}] is no shape of a GGUF tensor`)
  }
  const { blockSize } = TENSOR_TYPES[type]
  if (columns % blockSize !== 0)
    throw new InputError(`tensor ${name}: rows of ${columns} do not divide by ${blockSize}`)
  return elements === 0 ? 0 : rowBytes(type, columns) * (elements / columns)
}

function encodeValue(out: ByteWriter, key: string, entry: GgufValue): void {
  if (entry.type !== 'array') {
    out.uint32(GGUF_VALUE_TYPES.indexOf(entry.type))
    if (entry.type === 'string' && entry.bytes !== undefined) out.bytes(entry.bytes)
    else encodeScalar(out, key, entry.type, entry.value)
    return
  }
  out.uint32(GGUF_VALUE_TYPES.indexOf('array'))
  out.uint32(GGUF_VALUE_TYPES.indexOf(entry.of))
  const list = listBytes(entry)
  if (list !== null) {
    out.uint64(list.count)
    out.raw(list.bytes)
    return
  }
  out.uint64(entry.value.length)
  for (const value of entry.value) encodeScalar(out, key, entry.of, value)
}

const INTEGER_RANGES: Partial<Record<GgufScalarType, readonly [number, number]>> = {
  uint8: [0, 0xff],
  int8: [-0x80, 0x7f],
  uint16: [0, 0xffff],
  int16: [-0x8000, 0x7fff],
  uint32: [0, 0xffffffff],
  int32: [-0x80000000, 0x7fffffff],
}

const BIG_RANGES = {
  uint64: [0n, 2n ** 64n - 1n],
  int64: [-(2n ** 63n), 2n ** 63n - 1n],
} as const

function encodeScalar(
  out: ByteWriter,
  key: string,
  type: GgufScalarType,
  value: string | number | bigint | boolean,
): void {
  if (type === 'string') {
    out.string(String(value))
    return
  }
  if (type === 'uint64' || type === 'int64') {
    const [least, most] = BIG_RANGES[type]
    const whole = Number.isSafeInteger(value) || typeof value === 'bigint' ? BigInt(value) : null
    if (whole === null || whole < least || whole > most) {
      throw new InputError(`metadata key ${key}: ${value} is no ${type}`)
    }
    out[type](whole)
    return
  }
  const number = Number(value)
  const range = INTEGER_RANGES[type]
  if (range !== undefined && !(Number.isInteger(number) && number >= range[0] && number <= range[1])) {
    throw new InputError(`metadata key ${key}: ${value} is no ${type}`)
  }
  out[type](number)
}

/** Little-endian values in a buffer that grows by doubling. */
class ByteWriter {
  private buffer = Buffer.alloc(64 * 1024)
  private at = 0

  private reserve(bytes: number): number {
    if (this.at + bytes > this.buffer.length) {
      const larger = Buffer.alloc(Math.max(this.buffer.length * 2, this.at + bytes))
      this.buffer.copy(larger, 0, 0, this.at)
      this.buffer = larger
    }
    const at = this.at
    this.at += bytes
    return at
  }

  uint8(value: number): void {
    const at = this.reserve(1)
    this.buffer.writeUInt8(value, at)
  }

  int8(value: number): void {
    const at = this.reserve(1)
    this.buffer.writeInt8(value, at)
  }

  bool(value: number): void {
    this.uint8(value === 0 ? 0 : 1)
  }

  uint16(value: number): void {
    const at = this.reserve(2)
    this.buffer.writeUInt16LE(value, at)
  }

  int16(value: number): void {
    const at = this.reserve(2)
    this.buffer.writeInt16LE(value, at)
  }

  uint32(value: number): void {
    const at = this.reserve(4)
    this.buffer.writeUInt32LE(value, at)
  }

  int32(value: number): void {
    const at = this.reserve(4)
    this.buffer.writeInt32LE(value, at)
  }

  float32(value: number): void {
    const at = this.reserve(4)
    this.buffer.writeFloatLE(value, at)
  }

  float64(value: number): void {
    const at = this.reserve(8)
    this.buffer.writeDoubleLE(value, at)
  }

  uint64(value: number | bigint): void {
    const at = this.reserve(8)
    this.buffer.writeBigUInt64LE(BigInt(value), at)
  }

  int64(value: number | bigint): void {
    const at = this.reserve(8)
    this.buffer.writeBigInt64LE(BigInt(value), at)
  }

  string(value: string, longest = Number.MAX_SAFE_INTEGER): void {
    const bytes = Buffer.byteLength(value)
    if (bytes > longest) throw new InputError(`${value.slice(0, 80)}: ${bytes} bytes are too long, ${longest} may be`)
    this.uint64(bytes)
    const at = this.reserve(bytes)
    this.buffer.write(value, at, 'utf8')
  }

  /** A 64-bit length and these bytes. */
  bytes(value: Uint8Array): void {
    this.uint64(value.length)
    this.raw(value)
  }

  raw(value: Uint8Array): void {
    const at = this.reserve(value.length)
    this.buffer.set(value, at)
  }

  /** What was written, padded with zeros to the alignment. */
  finish(alignment: number): Uint8Array {
    this.reserve(alignUp(this.at, alignment) - this.at)
    return this.buffer.subarray(0, this.at)
  }
}
