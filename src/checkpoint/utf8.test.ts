import { isUtf8 } from 'node:buffer'
import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { firstInvalidUtf8 } from './utf8.js'

it.each([
  ['', -1],
  ['aé€😀', -1],
  [[0x61, 0xe9, 0x20], 1],
  [[0xf0, 0x9f, 0x98], 0],
  [[0xc0, 0x80], 0],
  [[0x61, 0xed, 0xa0, 0x80], 1],
  [[0xf4, 0x90, 0x80, 0x80], 0],
])('of %j the first byte that is no UTF-8 is %i', (bytes, at) => {
  expect(firstInvalidUtf8(typeof bytes === 'string' ? Buffer.from(bytes) : Uint8Array.from(bytes))).toBe(at)
})

it("agrees with Node's own check, and what stands before the position is UTF-8", () => {
  const piece = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 3 }).map((text) => [...Buffer.from(text)]),
    fc.array(fc.integer({ min: 0x7f, max: 0xff }), { maxLength: 3 }),
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 6 }), (pieces) => {
      const bytes = Uint8Array.from(pieces.flat())
      const at = firstInvalidUtf8(bytes)
      expect(at === -1).toBe(isUtf8(bytes))
      if (at >= 0) expect(isUtf8(bytes.subarray(0, at))).toBe(true)
    }),
  )
})
