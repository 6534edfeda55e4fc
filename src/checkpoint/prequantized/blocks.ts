import { float16ToFloat32, float32ToFloat16, float32ToFloat16Array } from '../float16.js'
import { TENSOR_TYPES, type TensorType } from '../tensor-type.js'

/** A row of codes with its scales: the scale of column c stands at `at + groupOf[c]`. */
export interface CodedRow {
  readonly table: Float32Array
  readonly codes: Uint8Array
  readonly groupOf: Uint32Array
  readonly scales: Float32Array
  readonly zeros: Int16Array | null
  readonly at: number
}

/** What is known of a matrix of whole codes before they are read. */
export interface IntegerFacts {
  /** The least and the largest code. */
  readonly codes: readonly [number, number]
  /** The least and the largest zero point. */
  readonly zeros: readonly [number, number]
  /** Whether each run of 32 columns has one scale, and rows consist of such runs. */
  readonly aligned: boolean
  /** Whether half precision keeps every scale. */
  readonly halfScales: boolean
  /** Whether half precision keeps every product of a scale and its zero point. */
  readonly halfOffsets: boolean
}

/**
 * The smallest type whose blocks hold (code - zero) * scale for any codes, without rounding: q4_0, q5_0 and q8_0 hold whole
 * numbers -8 .. 7, -16 .. 15 and -128 .. 127 times a half-precision scale. q4_1 holds 0 .. 15 times a scale and adds an
 * offset, so its offsets must be exact too.
 */
export function exactIntegerType({ codes, zeros, aligned, halfScales, halfOffsets }: IntegerFacts): TensorType | null {
  if (!aligned || !halfScales) return null
  const low = codes[0] - zeros[1]
  const high = codes[1] - zeros[0]
  if (low >= -8 && high <= 7) return 'q4_0'
  if (codes[0] >= 0 && codes[1] <= 15 && halfOffsets) return 'q4_1'
  if (low >= -16 && high <= 15) return 'q5_0'
  if (low >= -128 && high <= 127) return 'q8_0'
  return null
}

/** Whether half precision keeps this number. */
export function isHalf(value: number): boolean {
  return float16ToFloat32(float32ToFloat16(value)) === value
}

/** Whether each run of 32 columns belongs to one group. */
export function isAligned(columns: number, columnsPerScale: number, groupOf: Uint32Array | null): boolean {
  if (columns % 32 !== 0) return false
  if (groupOf === null) return columnsPerScale % 32 === 0 || columnsPerScale >= columns
  return groupOf.every((group, i) => group === groupOf[i - (i % 32)])
}

/**
 * Writes a row as blocks of `type`, which must be the one that keeps it.
 * @param out exactly the row's bytes
 */
export function encodeRow(type: TensorType, row: CodedRow, out: Uint8Array): void {
  if (type === 'f16') encodeHalves(row, out)
  else if (type === 'mxfp4') encodeMxfp4(row, out)
  else encodeIntegers(type, row, out)
}

function encodeIntegers(type: TensorType, row: CodedRow, out: Uint8Array): void {
  const encode = BLOCK_ENCODERS[type]
  if (encode === undefined) throw new TypeError(`rows are not encoded as ${type}`)
  const { table, codes, groupOf, scales, zeros, at } = row
  const { blockBytes } = TENSOR_TYPES[type]
  for (let block = 0, byte = 0; block < codes.length; block += 32, byte += blockBytes) {
    const group = at + groupOf[block]!
    const zero = zeros === null ? 0 : zeros[group]!
    for (let i = 0; i < 32; i++) NUMBERS[i] = table[codes[block + i]!]! - zero
    encode(out, byte, scales[group]!, zero)
  }
}

/** The block's numbers, zero subtracted. */
const NUMBERS = new Int16Array(32)

const BLOCK_ENCODERS: Partial<Record<TensorType, (out: Uint8Array, at: number, scale: number, zero: number) => void>> =
  {
    q4_0(out, at, scale) {
      putHalf(out, at, scale)
      for (let j = 0; j < 16; j++) out[at + 2 + j] = (NUMBERS[j]! + 8) | ((NUMBERS[j + 16]! + 8) << 4)
    },
    q4_1(out, at, scale, zero) {
      putHalf(out, at, scale)
      putHalf(out, at + 2, -zero * scale)
      for (let j = 0; j < 16; j++) out[at + 4 + j] = (NUMBERS[j]! + zero) | ((NUMBERS[j + 16]! + zero) << 4)
    },
    q5_0(out, at, scale) {
      putHalf(out, at, scale)
      let fifth = 0
      for (let j = 0; j < 32; j++) fifth |= ((NUMBERS[j]! + 16) >> 4) << j
      for (let j = 0; j < 4; j++) out[at + 2 + j] = fifth >>> (8 * j)
      for (let j = 0; j < 16; j++) {
        out[at + 6 + j] = ((NUMBERS[j]! + 16) & 15) | (((NUMBERS[j + 16]! + 16) & 15) << 4)
      }
    },
    q8_0(out, at, scale) {
      putHalf(out, at, scale)
      for (let j = 0; j < 32; j++) out[at + 2 + j] = NUMBERS[j]!
    },
  }

function encodeHalves({ table, codes, groupOf, scales, zeros, at }: CodedRow, out: Uint8Array): void {
  const values = Float32Array.from(codes, (code, i) => {
    const group = at + groupOf[i]!
    return (table[code]! - (zeros?.[group] ?? 0)) * scales[group]!
  })
  const bits = float32ToFloat16Array(values, new Uint16Array(values.length))
  out.set(new Uint8Array(bits.buffer))
}

/** Blocks of 32 codes that are E2M1 already: the scale's exponent, then the codes, those of 0 .. 15 in the lower halves. */
function encodeMxfp4({ codes, groupOf, scales, at }: CodedRow, out: Uint8Array): void {
  for (let block = 0, byte = 0; block < codes.length; block += 32, byte += 17) {
    out[byte] = Math.round(Math.log2(scales[at + groupOf[block]!]!)) + 127
    for (let j = 0; j < 16; j++) out[byte + 1 + j] = codes[block + j]! | (codes[block + j + 16]! << 4)
  }
}

function putHalf(out: Uint8Array, at: number, value: number): void {
  const bits = float32ToFloat16(value)
  out[at] = bits & 0xff
  out[at + 1] = bits >> 8
}
