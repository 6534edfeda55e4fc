import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { firstDifference, matrixOf, type RecordedBlocks, recordedBlocks } from '../../test/gguf-blocks.js'
import { isWeightType, rowBytes, TENSOR_TYPES, type TensorType, tensorTypeById } from '../checkpoint/tensor-type.js'
import { Backend } from './backend.js'
import { dequantize } from './dequantize.js'
import { Graph, type Tensor } from './graph.js'
import { ggml, librariesFolder, openLibrary } from './library.js'
import { type FileTensor, supportsProduct, WeightStore } from './weights.js'

const COLUMNS = 512
const ROWS = 16
const NAMES = (Object.keys(TENSOR_TYPES) as TensorType[]).filter((type) => isWeightType(type))
const QUANTIZED = NAMES.filter((type) => TENSOR_TYPES[type].blockSize > 1)
/** Elements that share a scale where rows of a product are quantised. */
const ROW_BLOCK = (type: TensorType): number => (TENSOR_TYPES[type].blockSize === 256 ? 256 : 32)

const backend = new Backend({ threads: 1 })
let folder: string
let recorded: ReadonlyMap<TensorType, RecordedBlocks>
beforeAll(async () => {
  recorded = new Map((await recordedBlocks()).map((blocks) => [blocks.type, blocks]))
  folder = await mkdtemp(join(tmpdir(), 'shoal-types-'))
})
afterAll(async () => {
  await backend.dispose()
  await rm(folder, { recursive: true })
})

describe('the table of tensor types', () => {
  it('is what ggml says, and has all that it has', () => {
    ggml()
    const base = openLibrary(librariesFolder(), 'ggml-base')
    const blockSize = base.func('int64_t ggml_blck_size(int type)')
    const typeSize = base.func('size_t ggml_type_size(int type)')
    for (let id = 0; id <= 42; id++) {
      const type = tensorTypeById(id)
      const bytes = Number(typeSize(id))
      if (type === null) expect(bytes, `type ${id}`).toBe(0)
      else
        expect([type, Number(blockSize(id)), bytes]).toEqual([
          type,
          TENSOR_TYPES[type].blockSize,
          TENSOR_TYPES[type].blockBytes,
        ])
    }
    expect([43, 97, 2 ** 32 - 1].map(tensorTypeById)).toEqual([null, null, null])
  })

  it('has blocks on record for every quantised type of weights', () => {
    expect([...recorded.keys()].toSorted()).toEqual(QUANTIZED.toSorted())
  })
})

/** From -1 to 1, without a pattern. */
function row(): Float32Array {
  return Float32Array.from({ length: COLUMNS }, (_, i) => Math.sin(i * i * 0.37 + i))
}

/**
 * How far a product may be off: six deviations of what quantising its row by steps of a block's largest value over 127 rounds
 * away, and half precision of the blocks' scales and sums.
 */
function tolerance(weights: Float32Array, x: Float32Array, block: number): number {
  let variance = 0
  let scales = 0
  for (let start = 0; start < x.length; start += block) {
    const [w, v] = [weights, x].map((all) => all.subarray(start, start + block)) as [Float32Array, Float32Array]
    const norm = (of: Float32Array): number => Math.hypot(...of)
    variance += (norm(w) * (Math.max(...v.map(Math.abs)) / 127)) ** 2 / 12
    const sum = v.reduce((all, each) => all + each, 0)
    scales += 2 ** -11 * (norm(w) * norm(v) + Math.max(...w.map(Math.abs)) * Math.abs(sum))
  }
  return 6 * Math.sqrt(variance) + scales
}

function products(matrix: Tensor, x: Float32Array): Float32Array {
  const g = new Graph(backend, 8)
  const input = g.input('f32', COLUMNS, 1)
  const out = g.output(g.mulMat(matrix, input))
  g.allocate()
  new Float32Array(g.bytes(input)).set(x)
  g.computeNow()
  const result = new Float32Array(g.bytes(out)).slice()
  g.dispose()
  return result
}

function rowsOf(matrix: Tensor, ids: readonly number[]): Float32Array {
  const g = new Graph(backend, 8)
  const index = g.input('i32', ids.length)
  const out = g.output(g.getRows(matrix, index))
  g.allocate()
  new Int32Array(g.bytes(index)).set(ids)
  g.computeNow()
  const result = new Float32Array(g.bytes(out)).slice()
  g.dispose()
  return result
}

describe('a matrix of any type', () => {
  it.each(QUANTIZED)('%s: values, rows and products are those of its numbers', async (type) => {
    const { bytes, values } = matrixOf(recorded.get(type)!, ROWS, COLUMNS)
    const read = new Float32Array(ROWS * COLUMNS)
    dequantize(type, bytes, ROWS, COLUMNS, read)
    expect(firstDifference(read, values)).toBeNull()

    const path = join(folder, `${type}.bin`)
    await writeFile(path, bytes)
    const tensor: FileTensor = { name: 'm', part: 0, shape: [COLUMNS, ROWS], type, offset: 0, bytes: bytes.length }
    const files = { parts: [{ path, bytes: bytes.length }] }
    const uses = [{ tensor, lookup: true, product: true }]
    const x = row()
    const extra = [...backend.extraBufferTypes().keys()].filter((name) =>
      supportsProduct(backend, name, type, tensor.shape),
    )
    for (const buffer of [null, ...extra]) {
      for (const map of [undefined, () => null]) {
        // Pieces that end within a block.
        const store = new WeightStore(backend, files, uses, () => buffer, { ...(map && { map }), piece: 1000 })
        expect(firstDifference(rowsOf(store.rows('m'), [15, 0, 7]), selected(values, [15, 0, 7]))).toBeNull()
        const picked = store.pickRows('m', [3, 11])
        expect(firstDifference(rowsOf(picked.tensor, [0, 1]), selected(values, [3, 11]))).toBeNull()
        for (const [matrix, rows] of [
          [store.get('m'), Array.from({ length: ROWS }, (_, i) => i)],
          [picked.tensor, [3, 11]],
        ] as const) {
          const result = products(matrix, x)
          rows.forEach((r, i) => {
            const w = values.subarray(r * COLUMNS, (r + 1) * COLUMNS)
            const exact = w.reduce((sum, v, j) => sum + v * x[j]!, 0)
            expect(Math.abs(result[i]! - exact), `row ${r} in ${buffer}`).toBeLessThan(tolerance(w, x, ROW_BLOCK(type)))
          })
        }
        picked.dispose()
        store.dispose()
      }
    }
  })

  it.each(['i8', 'i16', 'i32', 'i64', 'f64', 'q8_1', 'q8_k'] as const)('%s is none that is multiplied', (type) => {
    const g = new Graph(backend, 8)
    const matrix = g.input(type, 256, 2)
    expect(() => g.mulMat(matrix, g.input('f32', 256, 1))).toThrow(/mulMat cannot take/)
    expect(() => g.getRows(matrix, g.input('i32', 1))).toThrow(/getRows cannot take/)
    g.dispose()
  })

  it.each(['i8', 'f64'] as const)('%s has no float32 form', (type) => {
    const bytes = new Uint8Array(rowBytes(type, 4))
    expect(() => dequantize(type, bytes, 1, 4, new Float32Array(4))).toThrow(`${type} has no float32 form`)
  })
})

function selected(values: Float32Array, rows: readonly number[]): Float32Array {
  const out = new Float32Array(rows.length * COLUMNS)
  rows.forEach((r, i) => out.set(values.subarray(r * COLUMNS, (r + 1) * COLUMNS), i * COLUMNS))
  return out
}
