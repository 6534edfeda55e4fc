import { FileError, InputError } from '../errors.js'
import { createAtomicFile } from './atomic-file.js'
import { MAX_HEADER_BYTES, SAFETENSORS_DTYPES, type SafetensorsDtype } from './safetensors-header.js'

export interface TensorDeclaration {
  readonly name: string
  readonly dtype: SafetensorsDtype
  readonly shape: readonly number[]
}

/** Values of a tensor, or the next part of them, as they lie in the file. */
export type TensorChunk = Float32Array | Float64Array | Int32Array | Uint16Array | Uint8Array | BigInt64Array

/** A safetensors file being written: every tensor is declared first and then filled, in parts and in any order. */
export interface SafetensorsWriter {
  /** Appends to this tensor; parts of one tensor come in order, tensors may take turns. */
  append(name: string, chunk: TensorChunk): Promise<void>
  /** Gives the file its name; throws where a tensor is incomplete. */
  finish(): Promise<void>
  /** Removes what was written; nothing after `finish`. */
  abort(): Promise<void>
}

/**
 * Starts a safetensors file. It appears under `path` only at `finish`; after an error nothing is left of it. Call
 * `abort` where the caller itself fails.
 */
export async function createSafetensorsWriter(
  path: string,
  tensors: readonly TensorDeclaration[],
  metadata: Readonly<Record<string, string>> = {},
): Promise<SafetensorsWriter> {
  // Without a prototype, so that a tensor may have any name: on a plain object `__proto__` is not stored.
  const header: Record<string, unknown> = Object.create(null)
  if (Object.keys(metadata).length > 0) header.__metadata__ = metadata
  const ends = new Map<string, { position: number; end: number }>()
  let size = 0
  for (const { name, dtype, shape } of tensors) {
    if (name === '__metadata__' || ends.has(name)) throw new InputError(`tensor name ${name} cannot be used twice`)
    const bytes = shape.reduce((product, n) => product * n, SAFETENSORS_DTYPES[dtype])
    if (!shape.every((n) => n >= 0) || !Number.isSafeInteger(bytes)) {
      throw new InputError(`tensor ${name}: [${shape.join(', ')}] is no shape`)
    }
    header[name] = { dtype, shape, data_offsets: [size, size + bytes] }
    ends.set(name, { position: size, end: size + bytes })
    size += bytes
  }
  const start = encodeHeader(path, header)
  const file = await createAtomicFile(path)
  await file.write(start, 0)

  return {
    async append(name, chunk) {
      const place = ends.get(name)
      if (place === undefined) throw new InputError(`tensor ${name} was not declared`)
      const bytes = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength)
      if (place.position + bytes.length > place.end)
        throw new InputError(`tensor ${name} gets more than its shape holds`)
      const position = start.length + place.position
      place.position += bytes.length
      await file.write(bytes, position)
    },
    async finish() {
      for (const [name, { position, end }] of ends) {
        if (position === end) continue
        await file.abort()
        throw new InputError(`tensor ${name} lacks ${end - position} bytes`)
      }
      await file.commit()
    },
    abort: () => file.abort(),
  }
}

/** Length and JSON, padded with spaces so that the data starts at a multiple of 8. */
function encodeHeader(path: string, header: Record<string, unknown>): Uint8Array {
  const json = new TextEncoder().encode(JSON.stringify(header))
  const padded = Math.ceil(json.length / 8) * 8
  if (padded > MAX_HEADER_BYTES) throw new FileError(path, 'its safetensors header would be over the limit of 100 MB')
  const bytes = new Uint8Array(8 + padded).fill(0x20)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(padded), true)
  bytes.set(json, 8)
  return bytes
}
