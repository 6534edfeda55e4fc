import type { TensorType } from '../tensor-type.js'
import { encodeRow, exactIntegerType, isAligned, isHalf } from './blocks.js'
import type { RowReader } from './quantized-tensor.js'

/** Scales of a run of rows, and zero points where there are any. Both are [rows of scales, groups]. */
export interface ScaleRows {
  readonly scales: Float32Array
  /** Subtracted from a code's value; null for none. */
  readonly zeros: Int16Array | null
}

/** What the codes of a matrix mean, and which scale is whose. */
export interface CodedLayout {
  readonly columns: number
  /** What each code means. */
  readonly table: Float32Array
  readonly rowsPerScale: number
  readonly columnsPerScale: number
  /** Groups of columns: scales of one row. */
  readonly groups: number
  /** The group of each column, where it is not column div columnsPerScale. */
  readonly groupOf: Uint32Array | null
}

/**
 * A matrix of codes with one scale for a block of rows and columns:
 * value[r, c] = (table[code[r, c]] - zero) * scale, with both taken at [r div rowsPerScale, group of c].
 */
export interface CodedMatrix extends CodedLayout {
  /** Fills `into` with the codes of `count` rows. */
  readCodes(start: number, count: number, into: Uint8Array): Promise<void>
  /** Rows of scales `start` .. `start + count - 1`. */
  readScales(start: number, count: number): Promise<ScaleRows>
}

/** Codes decoded at a time: memory is bounded by them, not by how many rows the caller wants. */
const BLOCK_CODES = 1024 * 1024

/** Reads a coded matrix as float32, and as blocks of the type that keeps it. */
export function codedRows(matrix: CodedMatrix, exactType: TensorType | null): RowReader {
  const { columns, rowsPerScale, groups } = matrix
  const groupOf =
    matrix.groupOf ?? Uint32Array.from({ length: columns }, (_, c) => Math.floor(c / matrix.columnsPerScale))
  const step = Math.max(1, Math.floor(BLOCK_CODES / Math.max(1, columns)))
  let codes = new Uint8Array(0)

  /** Calls `take` with each row's codes, and where its scales begin in what was read. */
  const eachRow = async (
    start: number,
    count: number,
    take: (row: number, codes: Uint8Array, scales: ScaleRows, at: number) => void,
  ): Promise<void> => {
    for (let done = 0; done < count; done += step) {
      const first = start + done
      const rows = Math.min(step, count - done)
      if (codes.length < rows * columns) codes = new Uint8Array(rows * columns)
      await matrix.readCodes(first, rows, codes.subarray(0, rows * columns))
      const firstScale = Math.floor(first / rowsPerScale)
      const scaleRows = Math.floor((first + rows - 1) / rowsPerScale) - firstScale + 1
      const scales = await matrix.readScales(firstScale, scaleRows)
      for (let row = 0; row < rows; row++) {
        const at = (Math.floor((first + row) / rowsPerScale) - firstScale) * groups
        take(done + row, codes.subarray(row * columns, (row + 1) * columns), scales, at)
      }
    }
  }

  return {
    readFloats: (start, count, out) =>
      eachRow(start, count, (row, codes, { scales, zeros }, at) => {
        decodeRow(matrix.table, codes, groupOf, scales, zeros, at, out.subarray(row * columns, (row + 1) * columns))
      }),
    async readBlocks(start, count, out) {
      if (exactType === null) throw new TypeError('no type keeps this matrix')
      const bytes = out.length / count
      await eachRow(start, count, (row, codes, { scales, zeros }, at) => {
        const target = out.subarray(row * bytes, (row + 1) * bytes)
        encodeRow(exactType, { table: matrix.table, codes, groupOf, scales, zeros, at }, target)
      })
    },
  }
}

/** The table of unsigned codes of `bits` bits that mean themselves. */
export function unsignedCodes(bits: number): Float32Array {
  return Float32Array.from({ length: 2 ** bits }, (_, code) => code)
}

/** The table of bytes that are whole numbers with a sign. */
export const SIGNED_BYTES: Float32Array = Float32Array.from({ length: 256 }, (_, byte) => (byte << 24) >> 24)

/**
 * The smallest type that keeps a matrix of whole codes, whatever codes it has.
 * @param grid all scales and zero points of the matrix
 */
export function exactTypeOf(
  { table, columns, columnsPerScale, groupOf }: CodedLayout,
  { scales, zeros }: ScaleRows,
): TensorType | null {
  let [least, largest] = zeros === null || zeros.length === 0 ? [0, 0] : [zeros[0]!, zeros[0]!]
  let halfScales = true
  let halfOffsets = true
  for (let i = 0; i < scales.length; i++) {
    const zero = zeros === null ? 0 : zeros[i]!
    const scale = scales[i]!
    if (zero < least) least = zero
    if (zero > largest) largest = zero
    halfScales &&= isHalf(scale)
    halfOffsets &&= isHalf(zero * scale)
  }
  return exactIntegerType({
    codes: [table.reduce((a, b) => Math.min(a, b)), table.reduce((a, b) => Math.max(a, b))],
    zeros: [least, largest],
    aligned: isAligned(columns, columnsPerScale, groupOf),
    halfScales,
    halfOffsets,
  })
}

function decodeRow(
  table: Float32Array,
  codes: Uint8Array,
  groupOf: Uint32Array,
  scales: Float32Array,
  zeros: Int16Array | null,
  at: number,
  out: Float32Array,
): void {
  if (zeros === null) {
    for (let i = 0; i < codes.length; i++) out[i] = table[codes[i]!]! * scales[at + groupOf[i]!]!
    return
  }
  for (let i = 0; i < codes.length; i++) {
    const group = at + groupOf[i]!
    out[i] = (table[codes[i]!]! - zeros[group]!) * scales[group]!
  }
}
