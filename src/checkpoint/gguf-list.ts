import { FileError } from '../errors.js'
import { GGUF_VALUE_BYTES } from './gguf-format.js'
import type { GgufScalarType, GgufValue } from './gguf-value.js'

type GgufList = Extract<GgufValue, { readonly type: 'array' }>

/** A list as it lies in a file: what its values are is found when they are asked for. */
export interface ListBytes {
  readonly of: GgufScalarType
  readonly count: number
  readonly bytes: Buffer
  /** Where string i begins, behind its length; one more entry than strings. Empty for other types. */
  readonly starts: Uint32Array
}

/** The bytes of the lists that come from a file. A list that is put together anew, from a part of one, has none. */
const packed = new WeakMap<GgufValue, ListBytes>()

/**
 * A list of a file. Vocabularies have 300,000 tokens and twice as many merges, most of which nobody ever looks at: they stay
 * bytes, which also keeps what is no UTF-8, until `value` is read.
 * @param what names the list in errors
 */
export function listOf(path: string, what: string, list: ListBytes): GgufValue {
  let decoded: readonly string[] | readonly number[] | null = null
  const entry = {
    type: 'array',
    of: list.of,
    // An own property, so that a copy by spreading has the values; what it then changes is its own.
    get value() {
      decoded ??= list.of === 'string' ? decodeStrings(list) : decodeNumbers(path, what, list)
      return decoded
    },
  } as GgufValue
  packed.set(entry, list)
  return entry
}

/** The list's bytes where they are those of a file. */
export function listBytes(entry: GgufValue): ListBytes | null {
  return packed.get(entry) ?? null
}

export function listLength(entry: GgufList): number {
  return packed.get(entry)?.count ?? entry.value.length
}

/** Entry `index` of a list of strings, without decoding the others; null where there is none. */
export function stringAt(entry: GgufList & { readonly of: 'string' }, index: number): string | null {
  const list = packed.get(entry)
  if (list === undefined) return entry.value[index] ?? null
  return index < list.count ? textOf(list, index) : null
}

/** Bytes of a string's length. */
export const LENGTH_BYTES = 8

function textOf({ bytes, starts }: ListBytes, index: number): string {
  const end = starts[index + 1]! - LENGTH_BYTES
  return bytes.toString('utf8', starts[index]!, end)
}

function decodeStrings(list: ListBytes): string[] {
  return Array.from({ length: list.count }, (_, i) => textOf(list, i))
}

function decodeNumbers(path: string, what: string, { of, count, bytes }: ListBytes): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const width = GGUF_VALUE_BYTES[of]
  const read = READERS[of]
  return Array.from({ length: count }, (_, i) => {
    const value = Number(read(view, i * width))
    if (of === 'bool' && value > 1) throw new FileError(path, `${what} holds ${value} where true or false must be`)
    if (width === 8 && of !== 'float64' && !Number.isSafeInteger(value)) {
      throw new FileError(path, `${what} holds a number beyond 2^53`)
    }
    return value
  })
}

const READERS: Readonly<Record<GgufScalarType, (view: DataView, at: number) => number | bigint>> = {
  uint8: (view, at) => view.getUint8(at),
  int8: (view, at) => view.getInt8(at),
  bool: (view, at) => view.getUint8(at),
  uint16: (view, at) => view.getUint16(at, true),
  int16: (view, at) => view.getInt16(at, true),
  uint32: (view, at) => view.getUint32(at, true),
  int32: (view, at) => view.getInt32(at, true),
  float32: (view, at) => view.getFloat32(at, true),
  float64: (view, at) => view.getFloat64(at, true),
  uint64: (view, at) => view.getBigUint64(at, true),
  int64: (view, at) => view.getBigInt64(at, true),
  string: () => {
    throw new TypeError('a string is not a number')
  },
}
