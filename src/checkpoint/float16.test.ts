import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  bfloat16ToFloat32,
  bfloat16ToFloat32Array,
  float16ToFloat32,
  float16ToFloat32Array,
  float32ToBfloat16,
  float32ToBfloat16Array,
  float32ToFloat16,
  float32ToFloat16Array,
} from './float16.js'

const ALL_BITS = Uint16Array.from({ length: 65_536 }, (_, bits) => bits)

/** The two 16-bit neighbours of a finite value are never closer to it than its conversion is; a tie goes to even bits. */
function expectNearest(value: number, bits: number, decode: (bits: number) => number): void {
  const error = Math.abs(decode(bits) - value)
  const magnitude = bits & 0x7fff
  for (const neighbour of [magnitude - 1, magnitude + 1]) {
    if (neighbour < 0) continue
    const other = decode((bits & 0x8000) | neighbour)
    if (!Number.isFinite(other)) continue
    const otherError = Math.abs(other - value)
    expect(error).toBeLessThanOrEqual(otherError)
    if (error === otherError) expect(bits & 1).toBe(0)
  }
}

describe('float16', () => {
  it('gives back the bits of every value', () => {
    for (const bits of ALL_BITS) {
      const value = float16ToFloat32(bits)
      if (Number.isNaN(value)) expect(float16ToFloat32(float32ToFloat16(value))).toBeNaN()
      else expect(float32ToFloat16(value)).toBe(bits)
    }
  })

  it('knows the corners of the format', () => {
    expect(float16ToFloat32(0x0001)).toBe(2 ** -24)
    expect(float16ToFloat32(0x03ff)).toBe(1023 * 2 ** -24)
    expect(float16ToFloat32(0x0400)).toBe(2 ** -14)
    expect(float16ToFloat32(0x3c00)).toBe(1)
    expect(float16ToFloat32(0x7bff)).toBe(65_504)
    expect(float16ToFloat32(0xfc00)).toBe(-Infinity)
    expect(Object.is(float16ToFloat32(0x8000), -0)).toBe(true)
    expect(float32ToFloat16(65_519)).toBe(0x7bff)
    expect(float32ToFloat16(65_520)).toBe(0x7c00)
    expect(float32ToFloat16(1e30)).toBe(0x7c00)
    expect(float32ToFloat16(2 ** -25)).toBe(0)
    expect(float32ToFloat16(2 ** -25 * 1.001)).toBe(1)
    expect(float32ToFloat16(Number.NaN) & 0x7fff).toBeGreaterThan(0x7c00)
  })

  it('rounds to the nearest value, ties to even', () => {
    fc.assert(
      fc.property(fc.float({ min: -65_504, max: 65_504, noNaN: true }), (value) => {
        expectNearest(value, float32ToFloat16(value), float16ToFloat32)
      }),
      { numRuns: 2000 },
    )
  })
})

describe('bfloat16', () => {
  it('gives back the bits of every value', () => {
    for (const bits of ALL_BITS) {
      const value = bfloat16ToFloat32(bits)
      if (Number.isNaN(value)) expect(bfloat16ToFloat32(float32ToBfloat16(value))).toBeNaN()
      else expect(float32ToBfloat16(value)).toBe(bits)
    }
  })

  it('rounds to the nearest value, ties to even', () => {
    fc.assert(
      fc.property(
        fc.float({ noNaN: true, noDefaultInfinity: true, max: Math.fround(1e38), min: Math.fround(-1e38) }),
        (value) => {
          expectNearest(value, float32ToBfloat16(value), bfloat16ToFloat32)
        },
      ),
      { numRuns: 2000 },
    )
  })
})

it('converts arrays as it converts numbers', () => {
  const halves = float16ToFloat32Array(ALL_BITS, new Float32Array(65_536))
  expect(halves).toEqual(Float32Array.from(ALL_BITS, float16ToFloat32))
  const brains = bfloat16ToFloat32Array(ALL_BITS, new Float32Array(65_536))
  expect(brains).toEqual(Float32Array.from(ALL_BITS, bfloat16ToFloat32))
  const values = Float32Array.from({ length: 4096 }, (_, i) => Math.fround(Math.sin(i) * 10 ** ((i % 12) - 6)))
  expect(float32ToFloat16Array(values, new Uint16Array(4096))).toEqual(Uint16Array.from(values, float32ToFloat16))
  expect(float32ToBfloat16Array(values, new Uint16Array(4096))).toEqual(Uint16Array.from(values, float32ToBfloat16))
})
