import { closeSync } from 'node:fs'
import { mkdtemp, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openRegularSync } from '../checkpoint/regular-file.js'
import { rowBytes, type TensorType } from '../checkpoint/tensor-type.js'
import { FileError } from '../errors.js'
import { Backend } from './backend.js'
import { Graph, type Tensor } from './graph.js'
import { productCosts } from './product-cost.js'
import { quantize } from './quantize.js'
import { type FileTensor, supportsProduct, WeightStore, type WeightUse } from './weights.js'

const backend = new Backend({ threads: 1 })
afterAll(() => backend.dispose())

const TYPES = ['f32', 'f16', 'bf16', 'q8_0', 'q4_0', 'q4_k', 'q6_k'] as const satisfies readonly TensorType[]
const COLUMNS = 256
const ROWS = 64

let folder: string
let path: string
let bytes: number
const matrices: FileTensor[] = []
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-weights-'))
  path = join(folder, 'weights.bin')
  const parts: Uint8Array[] = []
  bytes = 0
  for (const type of TYPES) {
    const values = Float32Array.from({ length: ROWS * COLUMNS }, (_, i) => noise(i))
    const out = new Uint8Array(ROWS * rowBytes(type, COLUMNS))
    quantize(type, values, ROWS, COLUMNS, out)
    matrices.push({ name: type, part: 0, shape: [COLUMNS, ROWS], type, offset: bytes, bytes: out.length })
    parts.push(out)
    bytes += out.length
  }
  await writeFile(path, Buffer.concat(parts))
})
afterAll(() => rm(folder, { recursive: true }))

/** From -1 to 1, without a pattern. */
function noise(i: number): number {
  const mixed = Math.imul(i ^ (i >>> 5), 0x9e3779b1) >>> 0
  return (Math.imul(mixed ^ (mixed >>> 15), 0x85ebca6b) >>> 0) / 2 ** 31 - 1
}

const products = (): WeightUse[] => matrices.map((tensor) => ({ tensor, lookup: false, product: true }))

/** The matrix times some rows. */
function product(store: WeightStore, name: string, rows: number): Float32Array {
  return times(store.get(name), rows)
}

function times(matrix: Tensor, rows: number): Float32Array {
  const g = new Graph(backend, 8)
  const x = g.input('f32', COLUMNS, rows)
  const out = g.output(g.mulMat(matrix, x))
  g.allocate()
  new Float32Array(g.bytes(x)).set(Float32Array.from({ length: rows * COLUMNS }, (_, i) => noise(i + 1e6)))
  g.computeNow()
  const result = new Float32Array(g.bytes(out)).slice()
  g.dispose()
  return result
}

/** |a - b| / |b| */
function relative(a: Float32Array, b: Float32Array): number {
  const norm = (x: Float32Array) => Math.sqrt(x.reduce((sum, v) => sum + v * v, 0))
  return norm(a.map((v, i) => v - b[i]!)) / norm(b)
}

describe('the weight store', () => {
  it('gives the same products from a mapped file and from one that is read', () => {
    const mapped = new WeightStore(backend, { parts: [{ path, bytes }] }, products(), () => null)
    const read = new WeightStore(backend, { parts: [{ path, bytes }] }, products(), () => null, { map: () => null })
    for (const type of TYPES) {
      expect(product(read, type, 3), type).toEqual(product(mapped, type, 3))
      // What a type rounds away: the f32 products are the measure.
      expect(relative(product(mapped, type, 3), product(mapped, 'f32', 3)), type).toBeLessThan(
        type.startsWith('q4') ? 0.15 : 0.03,
      )
    }
    mapped.dispose()
    mapped.dispose()
    read.dispose()
  })

  it('picks rows of a matrix, wherever the matrix lies', () => {
    const rows = [1, 7, 63]
    const mapped = new WeightStore(backend, { parts: [{ path, bytes }] }, products(), () => null)
    const read = new WeightStore(backend, { parts: [{ path, bytes }] }, products(), () => null, { map: () => null })
    for (const store of [mapped, read]) {
      for (const type of TYPES) {
        const picked = store.pickRows(type, rows)
        const whole = product(store, type, 1)
        expect(
          relative(
            times(picked.tensor, 1),
            Float32Array.from(rows, (row) => whole[row]!),
          ),
          type,
        ).toBeLessThan(1e-6)
        picked.dispose()
      }
      expect(() => store.pickRows('f32', [0, ROWS])).toThrow(`f32 has rows 0 to ${ROWS - 1}, not ${ROWS}`)
      expect(() => store.pickRows('other', [0])).toThrow('the package has no tensor other')
      store.dispose()
    }
  })

  it('gives the same products from the extra buffer types of this processor, rounding of the rows aside', () => {
    const plain = new WeightStore(backend, { parts: [{ path, bytes }] }, products(), () => null)
    const tried: string[] = []
    for (const name of backend.extraBufferTypes().keys()) {
      const fit = products().filter(({ tensor }) => supportsProduct(backend, name, tensor.type, tensor.shape))
      for (const map of [undefined, () => null]) {
        const store = new WeightStore(backend, { parts: [{ path, bytes }] }, fit, () => name, map && { map })
        for (const { tensor } of fit) {
          tried.push(`${name} ${tensor.type}`)
          for (const rows of [1, 8])
            expect(
              relative(product(store, tensor.name, rows), product(plain, tensor.name, rows)),
              `${name} ${tensor.type}`,
            ).toBeLessThan(0.03)
        }
        if (fit.length > 0) expect(store.copiedBytes).toBeGreaterThan(0)
        store.dispose()
      }
    }
    console.log(`extra buffer types: ${[...new Set(tried)].join(', ') || 'none here'}`)
    plain.dispose()
  })

  it('keeps what is looked up by rows in plain memory, also where it is multiplied elsewhere', () => {
    const [extra] = [...backend.extraBufferTypes().keys()].filter((n) =>
      supportsProduct(backend, n, 'q8_0', [COLUMNS, ROWS]),
    )
    const tensor = matrices.find((m) => m.type === 'q8_0')!
    const store = new WeightStore(
      backend,
      { parts: [{ path, bytes }] },
      [{ tensor, lookup: true, product: true }],
      () => extra ?? null,
    )
    const g = new Graph(backend, 8)
    const ids = g.input('i32', 1)
    const out = g.output(g.getRows(store.rows('q8_0'), ids))
    g.allocate()
    new Int32Array(g.bytes(ids)).set([7])
    g.computeNow()
    const row = new Float32Array(g.bytes(out))
    row.forEach((v, i) => expect(v).toBeCloseTo(noise(7 * COLUMNS + i), 1))
    expect(store.get('q8_0') === store.rows('q8_0')).toBe(extra === undefined)
    g.dispose()
    store.dispose()
  })

  it('names what it lacks', () => {
    const store = new WeightStore(
      backend,
      { parts: [{ path, bytes }] },
      [{ tensor: matrices[0]!, lookup: false, product: false }],
      () => null,
    )
    expect(store.optional('nothing')).toBeNull()
    expect(() => store.get('nothing')).toThrow('the package has no tensor nothing')
    expect(() => store.rows('nothing')).toThrow('the package has no tensor nothing')
    store.dispose()
  })

  it('refuses a file that is shorter than its tensors, mapped or read', async () => {
    const short = join(folder, 'short.bin')
    await writeFile(short, new Uint8Array(bytes))
    await truncate(short, bytes - 10)
    for (const map of [undefined, () => null]) {
      // Known to be short, and cut since its header was read: touching a mapped page beyond the end would end the process.
      for (const claimed of [bytes - 10, bytes]) {
        const open = () =>
          new WeightStore(backend, { parts: [{ path: short, bytes: claimed }] }, products(), () => null, map && { map })
        expect(open).toThrow(FileError)
        expect(open).toThrow(/^.*short.bin: (ends inside tensor q6_k|was cut since its header was read)/)
      }
    }
  })

  it('refuses tensors that do not start where a processor reads them well', () => {
    const tensor = { ...matrices[0]!, offset: 4 }
    for (const map of [undefined, () => null]) {
      const open = () =>
        new WeightStore(
          backend,
          { parts: [{ path, bytes }] },
          [{ tensor, lookup: false, product: false }],
          () => null,
          map && { map },
        )
      expect(open).toThrow(/tensor f32 does not start at a multiple of 32 bytes/)
    }
  })

  it('refuses a file that is missing', () => {
    const gone = { parts: [{ path: join(folder, 'gone.bin'), bytes: 100 }] }
    for (const map of [undefined, () => null]) {
      expect(() => new WeightStore(backend, gone, products().slice(0, 1), () => null, map && { map })).toThrow(
        FileError,
      )
    }
  })

  it('takes tensors from several files, and leaves alone those that hold none of them', async () => {
    const other = join(folder, 'other.bin')
    await writeFile(other, await readFile(path))
    const files = {
      parts: [
        { path: join(folder, 'gone.bin'), bytes: 100 },
        { path, bytes },
        { path: other, bytes },
      ],
    }
    const plain = new WeightStore(backend, { parts: [{ path, bytes }] }, products(), () => null)
    const spread = matrices.map((m, i) => ({ ...m, part: 1 + (i % 2) }))
    for (const options of [{}, { map: () => null, piece: 777 }]) {
      const uses = spread.map((tensor) => ({ tensor, lookup: false, product: true }))
      const store = new WeightStore(backend, files, uses, () => null, options)
      for (const type of TYPES) {
        expect(product(store, type, 2)).toEqual(product(plain, type, 2))
        store.pickRows(type, [5]).dispose()
      }
      store.dispose()
    }
    plain.dispose()
    const outside = { ...matrices[0]!, part: 3 }
    expect(
      () => new WeightStore(backend, files, [{ tensor: outside, lookup: false, product: true }], () => null),
    ).toThrow('there are 3 weight files, not 4')
  })

  it('refuses a file that another has taken the place of', async () => {
    const replaced = join(folder, 'replaced.bin')
    await writeFile(replaced, new Uint8Array(bytes))
    const { fd, stamp } = openRegularSync(replaced)
    closeSync(fd)
    const files = { parts: [{ path: replaced, bytes, stamp }] }
    new WeightStore(backend, files, products(), () => null).dispose()
    await writeFile(join(folder, 'new.bin'), new Uint8Array(bytes))
    await rename(join(folder, 'new.bin'), replaced)
    for (const options of [{}, { map: () => null }]) {
      expect(() => new WeightStore(backend, files, products(), () => null, options)).toThrow(
        /replaced.bin: was changed since its header was read/,
      )
    }
  })

  it('refuses a buffer type that the processor lacks', () => {
    expect(() => new WeightStore(backend, { parts: [{ path, bytes }] }, products(), () => 'TPU')).toThrow(
      'this processor has no buffer type TPU',
    )
    expect(supportsProduct(backend, 'TPU', 'q4_0', [COLUMNS, ROWS])).toBe(false)
    // ggml would end the process.
    for (const name of backend.extraBufferTypes().keys())
      expect(supportsProduct(backend, name, 'q4_0', [COLUMNS, ROWS, 4, 2])).toBe(false)
  })
})

describe('the cost of a product', () => {
  it('is a time', async () => {
    for (const buffer of [null, ...backend.extraBufferTypes().keys()]) {
      if (buffer !== null && !supportsProduct(backend, buffer, 'q4_0', [256, 64])) continue
      const costs = await productCosts(backend, buffer, 'q4_0', [256, 64], [1, 2, 40], { repeats: 2 })
      expect(costs).toHaveLength(3)
      expect(costs.every((cost) => cost > 0 && Number.isFinite(cost))).toBe(true)
    }
    await expect(productCosts(backend, 'TPU', 'q4_0', [256, 64], [1])).rejects.toThrow(/no buffer type TPU/)
  })
})
