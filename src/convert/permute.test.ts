import { expect, it } from 'vitest'
import { fusedRow, permuteRotaryRows } from './permute.js'

it("puts the two rows of a rotary pair side by side, head by head, as llama.cpp's converter does", () => {
  // Two heads of 6 dimensions, 2 columns; every value tells its row.
  const rows = Array.from({ length: 12 }, (_, row) => [row, row + 0.5])
  const out = new Float32Array(24)
  permuteRotaryRows(Float32Array.from(rows.flat()), 6, 2, out)
  const order = [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]
  expect(out).toEqual(Float32Array.from(order.flatMap((row) => rows[row]!)))
})

it('permutes a bias as it permutes rows', () => {
  const out = new Float32Array(8)
  permuteRotaryRows(Float32Array.of(0, 1, 2, 3, 4, 5, 6, 7), 4, 1, out)
  expect(out).toEqual(Float32Array.of(0, 2, 1, 3, 4, 6, 5, 7))
})

it("lays the queries, keys and values of all heads together, as llama.cpp's converter does", () => {
  // Two heads of 3 dimensions: q0 k0 v0 q1 k1 v1 become q0 q1 k0 k1 v0 v1.
  const rows = Array.from({ length: 18 }, (_, row) => fusedRow(row, 2, 3))
  expect(rows).toEqual([0, 1, 2, 9, 10, 11, 3, 4, 5, 12, 13, 14, 6, 7, 8, 15, 16, 17])
})
