import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import type { ColumnMetaData } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'
import { readThrift, type ThriftStruct } from './thrift.js'

/** Bytes of a page at most, as it is once it is decompressed; writers make pages of 1 MB. */
const MAX_PAGE_BYTES = 64 * 1024 * 1024

const DATA_PAGE = 0
const DICTIONARY_PAGE = 2
const DATA_PAGE_V2 = 3

const PLAIN = 0
const PLAIN_DICTIONARY = 2
const DELTA_BINARY_PACKED = 5
const DELTA_LENGTH_BYTE_ARRAY = 6
const RLE_DICTIONARY = 8
const BYTE_STREAM_SPLIT = 9
/** The others that hyparquet reads are for booleans, or copy the value before into each value. */
const ENCODINGS = [
  PLAIN,
  PLAIN_DICTIONARY,
  DELTA_BINARY_PACKED,
  DELTA_LENGTH_BYTE_ARRAY,
  RLE_DICTIONARY,
  BYTE_STREAM_SPLIT,
]

/** A page that hyparquet will decompress: what its bytes must be. */
interface Page {
  readonly bytes: number
  /** Values of a data page; null of a dictionary. */
  readonly values: number | null
  readonly isDictionaryEncoded: boolean
  /** Whether definition levels precede the values. */
  readonly hasLevels: boolean
}

/**
 * Checks the pages of a column chunk before hyparquet believes their headers, and gives the decompressor to read it with,
 * which checks what is inside: sizes, counts and runs of values are those of the chunk's rows. hyparquet makes room for
 * what a header says, and writes as many values as a run says.
 * @param chunk the column's bytes @param rows of the row group @param isNullable whether values may be missing
 * @throws RangeError
 */
export function checkedDecompressor(
  chunk: Uint8Array,
  { codec, type }: ColumnMetaData,
  rows: number,
  isNullable: boolean,
): (input: Uint8Array, length: number) => Uint8Array {
  const pages = readPages(chunk, rows, isNullable, type === 'BYTE_ARRAY' ? 4 : 1)
  let next = 0
  return (input, length) => {
    const page = pages[next++]
    if (page === undefined || page.bytes !== length) throw new RangeError('its pages are not what their headers say')
    const bytes = decompress(codec, input, length)
    if (bytes.length !== length) throw new RangeError('a page has not the size that its header says')
    checkContents(bytes, page)
    return bytes
  }
}

function readPages(chunk: Uint8Array, rows: number, isNullable: boolean, leastBytes: number): Page[] {
  const pages: Page[] = []
  let values = 0
  for (let at = 0; values < rows && at < chunk.length; ) {
    const { fields, end } = readThrift(chunk, at)
    const type = count(fields, 1, DATA_PAGE_V2, 'a page of an unknown kind')
    const bytes = count(fields, 2, MAX_PAGE_BYTES, 'a page of more bytes than the 64 MiB that it may have')
    const stored = count(fields, 3, chunk.length - end, 'a page that ends behind its column')
    at = end + stored
    if (type === DICTIONARY_PAGE) {
      count(struct(fields, 7), 1, Math.floor(bytes / leastBytes), 'a dictionary of more values than bytes')
      pages.push({ bytes, values: null, isDictionaryEncoded: false, hasLevels: false })
    } else if (type === DATA_PAGE || type === DATA_PAGE_V2) {
      const header = struct(fields, type === DATA_PAGE ? 5 : 8)
      const own = count(header, 1, rows - values, 'more values than its row group has rows')
      const encoding = count(header, type === DATA_PAGE ? 2 : 4, BYTE_STREAM_SPLIT, 'an unknown encoding')
      if (!ENCODINGS.includes(encoding)) throw new RangeError(`it has the encoding ${encoding}`)
      const isDictionaryEncoded = encoding === PLAIN_DICTIONARY || encoding === RLE_DICTIONARY
      values += own
      if (type === DATA_PAGE) {
        pages.push({ bytes, values: own, isDictionaryEncoded, hasLevels: isNullable })
        continue
      }
      const missing = count(header, 2, own, 'more missing values than values')
      const levels = count(header, 5, stored, 'levels longer than their page')
      if (count(header, 6, 0, 'repeated values') === 0 && isNullable) {
        checkRuns(chunk.subarray(end, end + levels), 1, own)
      }
      const page = { bytes: bytes - levels, values: own - missing, isDictionaryEncoded, hasLevels: false }
      if (header.get(7) !== false) pages.push(page)
      else checkContents(chunk.subarray(end + levels, at), page)
    } else throw new RangeError('it has a page of an unknown kind')
  }
  if (values !== rows) throw new RangeError(`a column has ${values} values and its row group ${rows} rows`)
  return pages
}

function struct(fields: ThriftStruct, id: number): ThriftStruct {
  const value = fields.get(id)
  if (!(value instanceof Map)) throw new RangeError('a page lacks the header of its kind')
  return value
}

function count(fields: ThriftStruct, id: number, most: number, otherwise: string): number {
  const value = fields.get(id)
  if (typeof value !== 'number' || value < 0 || value > most) throw new RangeError(`it has ${otherwise}`)
  return value
}

/** The runs of levels and of dictionary indices inside a page. */
function checkContents(bytes: Uint8Array, { values, isDictionaryEncoded, hasLevels }: Page): void {
  if (values === null) return
  let at = 0
  if (hasLevels) {
    const length = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(0, true)
    at = 4 + length
    if (at > bytes.length) throw new RangeError('it has levels longer than their page')
    checkRuns(bytes.subarray(4, at), 1, values)
  }
  if (!isDictionaryEncoded || at === bytes.length) return
  const width = bytes[at]!
  if (width > 32) throw new RangeError('it has dictionary indices of more than 32 bits')
  if (width > 0) checkRuns(bytes.subarray(at + 1), width, values)
}

/** Parquet's hybrid of runs and packed bits: no run goes further than the values that are wanted. */
function checkRuns(bytes: Uint8Array, width: number, most: number): void {
  let at = 0
  let seen = 0
  while (seen < most && at < bytes.length) {
    let header = 0
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++]
      if (byte === undefined || shift > 28) throw new RangeError('it has a run without an end')
      header += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) break
    }
    const length = Math.floor(header / 2)
    if (header % 2 === 1) {
      // Groups of eight, of which the last may be cut short by the end of the page.
      if (length > (most - seen + 7) / 8) throw new RangeError('it has a run of more values than its page')
      seen += length * 8
      at += length * width
    } else {
      if (length === 0 || length > most - seen) throw new RangeError('it has a run of more values than its page')
      seen += length
      at += Math.ceil(width / 8)
    }
  }
}

function decompress(codec: ColumnMetaData['codec'], input: Uint8Array, length: number): Uint8Array {
  // Those of hyparquet-compressors go by what the data says of its size.
  if (codec === 'UNCOMPRESSED') return input
  if (codec === 'GZIP') return gunzipSync(input, { maxOutputLength: Math.max(1, length) })
  if (codec === 'BROTLI') return brotliDecompressSync(input, { maxOutputLength: Math.max(1, length) })
  if (codec === 'ZSTD' && zstdSize(input) !== length) throw new RangeError('it has a Zstandard page of an unknown size')
  const decompressor = compressors[codec]
  if (decompressor === undefined) throw new RangeError(`it is compressed by ${codec}`)
  return decompressor(input, length)
}

/** The size that a Zstandard frame says it has, or null. Format: RFC 8878, section 3.1.1. */
function zstdSize(bytes: Uint8Array): number | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length < 6 || view.getUint32(0, true) !== 0xfd2fb528) return null
  const descriptor = bytes[4]!
  const isSingleSegment = (descriptor & 0x20) !== 0
  const at = 5 + (isSingleSegment ? 0 : 1) + [0, 1, 2, 4][descriptor & 3]!
  const kind = descriptor >> 6
  if (at + 8 > bytes.length && kind === 3) return null
  if (kind === 0) return isSingleSegment ? bytes[at]! : null
  if (kind === 1) return view.getUint16(at, true) + 256
  return kind === 2 ? view.getUint32(at, true) : Number(view.getBigUint64(at, true))
}
