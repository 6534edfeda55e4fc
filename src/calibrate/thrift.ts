/** A value of Thrift's compact protocol; structs by field number. Text and lists are passed over: only numbers are asked for. */
export type ThriftStruct = ReadonlyMap<number, ThriftValue>
export type ThriftValue = number | boolean | ThriftStruct | null

const BOOLEAN_TRUE = 1
const BOOLEAN_FALSE = 2
const BYTE = 3
const I16 = 4
const I32 = 5
const I64 = 6
const DOUBLE = 7
const BINARY = 8
const LIST = 9
const STRUCT = 12

const MAX_DEPTH = 16

/**
 * Reads one struct (a Parquet footer, a page header) and checks what a reader would believe: every length fits the bytes that
 * are there, a list has no more elements than bytes follow, and nothing is nested deep.
 * Format: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
 * @returns its fields and where it ends
 * @throws RangeError
 */
export function readThrift(bytes: Uint8Array, start = 0): { fields: ThriftStruct; end: number } {
  let at = start

  const byte = (): number => {
    const value = bytes[at]
    if (value === undefined) throw new RangeError('it ends in the middle of a header')
    at++
    return value
  }
  const varint = (): number => {
    let value = 0
    for (let shift = 0; shift < 70; shift += 7) {
      const next = byte()
      value += (next & 0x7f) * 2 ** shift
      if (next < 0x80) return value
    }
    throw new RangeError('a number of a header has no end')
  }
  const zigzag = (): number => {
    const value = varint()
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2
  }
  const skip = (count: number): null => {
    if (count > bytes.length - at) throw new RangeError('a length of a header is beyond its end')
    at += count
    return null
  }

  const element = (type: number, depth: number): ThriftValue => {
    switch (type) {
      case BOOLEAN_TRUE:
        return true
      case BOOLEAN_FALSE:
        return false
      case BYTE:
        return (byte() << 24) >> 24
      case I16:
      case I32:
      case I64:
        return zigzag()
      case DOUBLE:
        return skip(8)
      case BINARY:
        return skip(varint())
      case LIST: {
        const head = byte()
        const count = head >> 4 === 15 ? varint() : head >> 4
        if (count > bytes.length - at) throw new RangeError('a list of a header is longer than the header')
        const of = head & 0x0f
        for (let i = 0; i < count; i++) element(of === BOOLEAN_TRUE || of === BOOLEAN_FALSE ? BYTE : of, depth + 1)
        return null
      }
      case STRUCT:
        return struct(depth + 1)
      default:
        throw new RangeError('a header has a value of an unknown type')
    }
  }
  const struct = (depth: number): ThriftStruct => {
    if (depth > MAX_DEPTH) throw new RangeError('a header is nested too deep')
    const fields = new Map<number, ThriftValue>()
    let id = 0
    for (;;) {
      const head = byte()
      const type = head & 0x0f
      if (type === 0) return fields
      id = head >> 4 === 0 ? zigzag() : id + (head >> 4)
      fields.set(id, element(type, depth))
    }
  }
  return { fields: struct(0), end: at }
}
