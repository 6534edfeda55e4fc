import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { dequantize } from '../../ggml/dequantize.js'
import { float16ToFloat32 } from '../float16.js'
import { rowBytes } from '../tensor-type.js'
import { encodeRow, exactIntegerType, isAligned, isHalf } from './blocks.js'
import { type CodedMatrix, codedRows, exactTypeOf, SIGNED_BYTES, unsignedCodes } from './coded-matrix.js'

const finiteHalf = fc
  .integer({ min: 0, max: 0xffff })
  .map(float16ToFloat32)
  .filter((value) => Number.isFinite(value))
/** Scales with few bits, so that products with zero points are exact too. */
const short = fc.integer({ min: -64, max: 64 }).map((n) => n / 1024)

describe('the smallest type that keeps whole numbers', () => {
  const all = { zeros: [0, 0], aligned: true, halfScales: true, halfOffsets: false } as const
  it.each([
    [{ ...all, codes: [0, 15], zeros: [8, 8] }, 'q4_0'],
    [{ ...all, codes: [0, 7], zeros: [0, 7] }, 'q4_0'],
    [{ ...all, codes: [0, 3], zeros: [0, 3] }, 'q4_0'],
    [{ ...all, codes: [0, 15], zeros: [7, 8] }, 'q5_0'],
    [{ ...all, codes: [0, 15], zeros: [0, 15] }, 'q5_0'],
    [{ ...all, codes: [0, 15], zeros: [0, 15], halfOffsets: true }, 'q4_1'],
    [{ ...all, codes: [0, 31], zeros: [16, 16], halfOffsets: true }, 'q5_0'],
    [{ ...all, codes: [0, 127], zeros: [0, 127] }, 'q8_0'],
    [{ ...all, codes: [0, 255], zeros: [128, 128] }, 'q8_0'],
    [{ ...all, codes: [-128, 127] }, 'q8_0'],
    [{ ...all, codes: [-128, 127], zeros: [0, 1] }, null],
    [{ ...all, codes: [0, 255], zeros: [127, 128] }, null],
    [{ ...all, codes: [0, 15], zeros: [8, 8], halfScales: false }, null],
    [{ ...all, codes: [0, 15], zeros: [8, 8], aligned: false }, null],
  ] as const)('%o: %s', (facts, type) => {
    expect(exactIntegerType(facts)).toBe(type)
  })

  it('keeps every value, whatever codes, zero points and half-precision scales', async () => {
    const property = fc.asyncProperty(
      fc.integer({ min: 1, max: 8 }),
      fc.boolean(),
      fc.boolean(),
      fc.integer({ min: 1, max: 3 }),
      fc.infiniteStream(fc.nat()),
      fc.oneof(
        fc.array(finiteHalf, { minLength: 12, maxLength: 12 }),
        fc.array(short, { minLength: 12, maxLength: 12 }),
      ),
      async (bits, signed, symmetric, groups, numbers, scales) => {
        const next = (below: number): number => Number(numbers.next().value) % below
        const columns = groups * 64
        const rows = 4
        const zeros = Int16Array.from({ length: rows * groups }, () => {
          if (symmetric) return signed ? 0 : 2 ** (bits - 1)
          return signed ? next(5) - 2 : next(2 ** bits)
        })
        const codes = Uint8Array.from({ length: rows * columns }, () => next(signed ? 256 : 2 ** bits))
        const matrix: CodedMatrix = {
          columns,
          table: signed ? SIGNED_BYTES : unsignedCodes(bits),
          rowsPerScale: 1,
          columnsPerScale: 64,
          groups,
          groupOf: null,
          readCodes: async (start, count, into) => {
            into.set(codes.subarray(start * columns, (start + count) * columns))
          },
          readScales: async (start, count) => ({
            scales: Float32Array.from(scales).subarray(start * groups, (start + count) * groups),
            zeros: zeros.subarray(start * groups, (start + count) * groups),
          }),
        }
        const type = exactTypeOf(matrix, await matrix.readScales(0, rows))
        if (type === null) return
        const reader = codedRows(matrix, type)
        const values = new Float32Array(rows * columns)
        await reader.readFloats(0, rows, values)
        const bytes = new Uint8Array(rows * rowBytes(type, columns))
        await reader.readBlocks(0, rows, bytes)
        const decoded = new Float32Array(rows * columns)
        dequantize(type, bytes, rows, columns, decoded)
        for (const [i, value] of values.entries()) if (decoded[i] !== value) expect([i, decoded[i]]).toEqual([i, value])
      },
    )
    await fc.assert(property, { numRuns: 300 })
  })
})

it('sees which numbers half precision keeps', () => {
  expect([0, 1, -0.1, 2 ** -24, 65_504, 2049 / 2048].map(isHalf)).toEqual([true, true, false, true, true, false])
  expect(isHalf(65_520)).toBe(false)
  expect(isHalf(2 ** -25)).toBe(false)
})

it('sees whether blocks of 32 have one scale', () => {
  expect(isAligned(64, 32, null)).toBe(true)
  expect(isAligned(64, 64, null)).toBe(true)
  expect(isAligned(96, 100, null)).toBe(true)
  expect(isAligned(64, 48, null)).toBe(false)
  expect(isAligned(48, 48, null)).toBe(false)
  const swapped = Uint32Array.from({ length: 96 }, (_, i) => 2 - Math.floor(i / 32))
  expect(isAligned(96, 32, swapped)).toBe(true)
  swapped[40] = 0
  expect(isAligned(96, 32, swapped)).toBe(false)
})

it('encodes no other types', () => {
  const row = {
    table: unsignedCodes(4),
    codes: new Uint8Array(256),
    groupOf: new Uint32Array(256),
    scales: Float32Array.of(1),
    zeros: null,
    at: 0,
  }
  expect(() => encodeRow('q4_k', row, new Uint8Array(144))).toThrow('rows are not encoded as q4_k')
})
