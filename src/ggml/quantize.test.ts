import { describe, expect, it } from 'vitest'
import { QUANTIZATIONS, rowBytes } from '../checkpoint/tensor-type.js'
import { quantize } from './quantize.js'

const COLUMNS = 512
const ROWS = 3
const values = Float32Array.from({ length: ROWS * COLUMNS }, (_, i) => Math.sin(i * 0.7) * (1 + (i % 5)))

describe('quantize', () => {
  it.each(QUANTIZATIONS)('fills exactly the bytes of the rows as %s', (type) => {
    const bytes = ROWS * rowBytes(type, COLUMNS)
    const out = new Uint8Array(bytes + 64).fill(0xaa)
    quantize(type, values, ROWS, COLUMNS, out)
    expect(out.subarray(bytes).every((b) => b === 0xaa)).toBe(true)
    expect(out.subarray(0, bytes).every((b) => b === 0xaa)).toBe(false)
    // Row by row gives the same: no row knows of another.
    const single = new Uint8Array(rowBytes(type, COLUMNS))
    quantize(type, values.subarray(COLUMNS, 2 * COLUMNS), 1, COLUMNS, single)
    expect(out.subarray(single.length, 2 * single.length)).toEqual(single)
  })

  it('writes into the part of a buffer that it is given', () => {
    const buffer = new Uint8Array(40)
    quantize('f16', Float32Array.of(1, 2), 1, 2, buffer.subarray(3, 7))
    expect([...buffer.subarray(0, 8)]).toEqual([0, 0, 0, 0x00, 0x3c, 0x00, 0x40, 0])
  })

  it('reads the part of an array that it is given', () => {
    const out = new Uint8Array(4)
    quantize('f32', Float32Array.of(9, 1, 9).subarray(1, 2), 1, 1, out)
    expect(new Float32Array(out.buffer)[0]).toBe(1)
  })

  it('refuses sizes that do not fit', () => {
    expect(() => quantize('q4_0', values, 1, 48, new Uint8Array(1000))).toThrow(
      '48 columns do not divide into q4_0 blocks of 32',
    )
    expect(() => quantize('q6_k', values, 1, 288, new Uint8Array(1000))).toThrow(/q6_k blocks of 256/)
    expect(() => quantize('f16', values, 4, COLUMNS, new Uint8Array(1e6))).toThrow('4 x 512 values wanted, 1536 given')
    expect(() => quantize('q8_0', values, ROWS, COLUMNS, new Uint8Array(ROWS * rowBytes('q8_0', COLUMNS) - 1))).toThrow(
      'the output is too small for q8_0',
    )
  })
})
