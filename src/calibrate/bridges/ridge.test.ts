import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createRandomStream } from '../../engine/schedule/random-stream.js'
import { Backend } from '../../ggml/backend.js'
import { dequantize } from '../../ggml/dequantize.js'
import { RowMap } from '../../ggml/row-algebra.js'
import { leadingDirections } from './low-rank.js'
import { chooseRidge, type LinearMap, Moments, solveRidge, unexplained } from './ridge.js'
import { toBridge } from './to-bridge.js'

const WIDTH = 12
let backend: Backend
beforeAll(() => {
  backend = new Backend({ threads: 1 })
})
afterAll(() => backend.dispose())

const random = createRandomStream(3)
const normal = (): number => Math.sqrt(-2 * Math.log(random() + 1e-12)) * Math.cos(2 * Math.PI * random())

/** Rows of y = M x + c, with noise; 600 of them are more than two blocks. */
function rowsOf(truth: readonly number[][], constant: readonly number[], noise: number, count = 600) {
  return Array.from({ length: count }, () => {
    const x = Float32Array.from({ length: WIDTH }, (_, i) => normal() * (1 + i) + 2)
    const y = Float32Array.from(truth, (row, j) =>
      row.reduce((sum, w, i) => sum + w * x[i]!, constant[j]! + noise * normal()),
    )
    return { x, y }
  })
}

const TRUTH = Array.from({ length: WIDTH }, () => Array.from({ length: WIDTH }, () => normal() / WIDTH))
const CONSTANT = Array.from({ length: WIDTH }, normal)

function momentsOf(rows: ReturnType<typeof rowsOf>): Moments {
  const moments = new Moments(backend, WIDTH, WIDTH)
  for (const { x, y } of rows) moments.add(x, y, 1)
  return moments
}

function valuesOf(data: Uint8Array, type: 'f32' | 'f16' | 'q8_0', rows: number, columns: number): Float32Array {
  const values = new Float32Array(rows * columns)
  dequantize(type, data, rows, columns, values)
  return values
}

describe('ridge regression', () => {
  it('finds a linear map and its bias', () => {
    const moments = momentsOf(rowsOf(TRUTH, CONSTANT, 0))
    const { a, b } = moments.sums()
    const { weights } = solveRidge(a, b, 0)
    for (let j = 0; j < WIDTH; j++) {
      for (let i = 0; i < WIDTH; i++) expect(weights[i]![j]).toBeCloseTo(TRUTH[j]![i]!, 3)
      expect(weights[WIDTH]![j]).toBeCloseTo(CONSTANT[j]!, 2)
    }
    expect(unexplained(weights, momentsOf(rowsOf(TRUTH, CONSTANT, 0)).sums())).toBeLessThan(1e-6)
    moments.dispose()
  })

  it('solves (A + ridge diag(A)) W = B, the bias without a ridge', () => {
    const { a, b } = momentsOf(rowsOf(TRUTH, CONSTANT, 1)).sums()
    const { weights } = solveRidge(a, b, 0.3)
    for (let i = 0; i <= WIDTH; i++) {
      for (let j = 0; j < WIDTH; j++) {
        let left = i < WIDTH ? 0.3 * a[i]![i]! * weights[i]![j]! : 0
        for (let k = 0; k <= WIDTH; k++) left += a[i]![k]! * weights[k]![j]!
        expect(Math.abs(left - b[i]![j]!)).toBeLessThan(
          1e-6 * Math.abs(b[i]![i % WIDTH]!) + 1e-6 * Math.abs(left) + 1e-3,
        )
      }
    }
  })

  it('without a bias finds the map through zero, of any rank', () => {
    const rows = rowsOf(
      TRUTH,
      CONSTANT.map(() => 0),
      0,
    )
    const moments = new Moments(backend, WIDTH, WIDTH, false)
    for (const { x, y } of rows) moments.add(x, y, 1)
    const { map } = chooseRidge(moments, moments, [0])
    for (let j = 0; j < WIDTH; j++) {
      for (let i = 0; i < WIDTH; i++) expect(map.weights[i]![j]).toBeCloseTo(TRUTH[j]![i]!, 3)
      expect(map.weights[WIDTH]![j]).toBe(0)
    }
    for (const rank of [null, 3]) {
      const { bias } = toBridge(map, { from: 1, to: 4, on: 'mlp' }, { type: 'f32', rank })
      expect(bias.every((value) => value === 0)).toBe(true)
    }
    const shifted = new Moments(backend, WIDTH, WIDTH, false)
    for (const { x, y } of rowsOf(TRUTH, CONSTANT, 0)) shifted.add(x, y, 1)
    const { a, b } = shifted.sums()
    expect(unexplained(solveRidge(a, b, 0).weights, shifted.sums())).toBeGreaterThan(1e-6)
    moments.dispose()
    shifted.dispose()
  })

  it('takes the ridge that does best on rows without a part in the fit', () => {
    const few = momentsOf(rowsOf(TRUTH, CONSTANT, 8, 20))
    const many = momentsOf(rowsOf(TRUTH, CONSTANT, 8, 2000))
    const { ridge, unexplained: share } = chooseRidge(few, many, [1e-4, 1e-2, 1])
    const { a, b } = few.sums()
    const shares = [1e-4, 1e-2, 1].map((r) => unexplained(solveRidge(a, b, r).weights, many.sums()))
    expect(share).toBe(Math.min(...shares))
    expect(ridge).toBe([1e-4, 1e-2, 1][shares.indexOf(share as number)])
  })

  it('ends where inputs say nothing or the same', () => {
    const moments = new Moments(backend, WIDTH, WIDTH)
    for (let r = 0; r < 30; r++) {
      const x = new Float32Array(WIDTH)
      x.fill(normal(), 4)
      moments.add(x, x, 1)
    }
    const { a, b } = moments.sums()
    const { weights } = solveRidge(a, b, 1e-4)
    expect(weights.every((row) => row.every(Number.isFinite))).toBe(true)
  })
})

describe('a bridge of a fitted map', () => {
  const place = { from: 1, to: 4, on: 'hidden' } as const
  function fitted(): LinearMap {
    const { a, b } = momentsOf(rowsOf(TRUTH, CONSTANT, 0)).sums()
    return solveRidge(a, b, 1e-6)
  }

  it('maps rows as the map does, and at full rank as itself', () => {
    const map = fitted()
    const [{ x, y }] = rowsOf(TRUTH, CONSTANT, 0, 1) as [{ x: Float32Array; y: Float32Array }]
    for (const rank of [null, WIDTH, WIDTH + 5]) {
      const bridge = toBridge(map, place, { type: 'f32', rank })
      expect(bridge.factors).toHaveLength(1)
      const rows = new RowMap(backend, bridge.factors, bridge.bias)
      rows.each(
        1,
        () => x,
        (_, mapped) => {
          for (let j = 0; j < WIDTH; j++) expect(mapped[j]).toBeCloseTo(y[j]!, 2)
        },
      )
      rows.dispose()
    }
  })

  it('of lower rank projects on the leading directions of what it puts out, and keeps the mean', () => {
    const map = fitted()
    const rows = rowsOf(TRUTH, CONSTANT, 0, 400)
    const errors = [2, 6, 11].map((rank) => {
      const bridge = toBridge(map, place, { type: 'f32', rank })
      const [down, up] = bridge.factors
      expect([down!.rows, up!.columns]).toEqual([rank, rank])
      const directions = leadingDirections(map, rank)
      for (const [p, one] of directions.entries())
        for (const [q, other] of directions.entries())
          expect(one.reduce((sum, value, i) => sum + value * other[i]!, 0)).toBeCloseTo(p === q ? 1 : 0, 9)
      const mean = new Float64Array(WIDTH)
      let squares = 0
      const apply = new RowMap(backend, bridge.factors, bridge.bias)
      apply.each(
        rows.length,
        (i) => rows[i]!.x,
        (i, mapped) => {
          for (let j = 0; j < WIDTH; j++) {
            mean[j] = mean[j]! + mapped[j]! - rows[i]!.y[j]!
            squares += (mapped[j]! - rows[i]!.y[j]!) ** 2
          }
        },
      )
      apply.dispose()
      const scale = Math.sqrt(rows.reduce((sum, { y }) => sum + y[0]! ** 2, 0) / rows.length)
      for (const sum of mean) expect(Math.abs(sum / rows.length)).toBeLessThan(0.25 * scale)
      return squares
    })
    expect(errors[0]).toBeGreaterThan(errors[1]!)
    expect(errors[1]).toBeGreaterThan(errors[2]!)
  })

  it.each(['f16', 'q8_0'] as const)('is rounded to %s', (type) => {
    const width = 32
    const weights = Array.from({ length: width + 1 }, () => Float64Array.from({ length: width }, normal))
    const bridge = toBridge({ weights, moments: [] }, place, { type, rank: null })
    const values = valuesOf(bridge.factors[0]!.data, type, width, width)
    for (let r = 0; r < width; r++)
      for (let c = 0; c < width; c++) expect(Math.abs(values[r * width + c]! - weights[c]![r]!)).toBeLessThan(0.03)
  })
})
