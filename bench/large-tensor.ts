/**
 * Tensors beyond 2 and 4 GiB: a sparse GGUF file with one q4_0 matrix whose last row alone holds something is mapped and read, into
 * plain memory and into every other buffer type of this processor, multiplied, and looked up by rows.
 *
 *     node --import ./test/typescript-loader.mjs bench/large-tensor.ts --gib 2.1
 */
import { mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { readGguf } from '../src/checkpoint/gguf.js'
import { rowBytes } from '../src/checkpoint/tensor-type.js'
import { Backend } from '../src/ggml/backend.js'
import { Graph } from '../src/ggml/graph.js'
import { quantize } from '../src/ggml/quantize.js'
import { supportsProduct, WeightStore } from '../src/ggml/weights.js'

const { values: options } = parseArgs({
  options: { gib: { type: 'string', default: '2.1' }, folder: { type: 'string', default: tmpdir() } },
})
const COLUMNS = 4096
const ROW_BYTES = rowBytes('q4_0', COLUMNS)
/** A multiple of 16, which buffer types with an order of their own ask for. */
const ROWS = Math.ceil((Number(options.gib) * 2 ** 30) / ROW_BYTES / 16) * 16

const folder = await mkdtemp(join(options.folder, 'shoal-large-'))
const backend = new Backend({ threads: 2 })
try {
  const path = join(folder, 'large.gguf')
  const values = Float32Array.from({ length: COLUMNS }, (_, i) => Math.sin(i))
  await writeSparse(path, values)
  const gguf = await readGguf(path)
  const tensor = gguf.tensors.get('m')!
  const x = Float32Array.from({ length: COLUMNS }, (_, i) => Math.cos(i * i))
  const exact = values.reduce((sum, v, i) => sum + v * x[i]!, 0)
  const extra = [...backend.extraBufferTypes().keys()].filter((n) => supportsProduct(backend, n, 'q4_0', tensor.shape))
  for (const buffer of [null, ...extra]) {
    for (const map of [undefined, () => null]) {
      const start = performance.now()
      const store = new WeightStore(
        backend,
        gguf,
        [{ tensor, lookup: true, product: true }],
        () => buffer,
        map && { map },
      )
      const loaded = performance.now()
      const product = multiply(store, x)
      const picked = store.pickRows('m', [ROWS - 1])
      const [looked, row] = [lookUp(store), picked.view.some((byte) => byte !== 0)]
      picked.dispose()
      store.dispose()
      const others = product.subarray(0, -1).every((v) => v === 0)
      const near = Math.abs(product.at(-1)! - exact) < 0.05 * Math.hypot(...x)
      const right = others && near && row && Math.abs(looked[1]! - values[1]!) < 0.15
      const seconds = ((loaded - start) / 1000).toFixed(1)
      console.log(
        `${(tensor.bytes / 2 ** 30).toFixed(2)} GiB, ${map ? 'read' : 'mapped'}, ${buffer ?? 'plain'}: ${right ? 'right' : 'WRONG'}, loaded in ${seconds} s`,
      )
      if (!right) process.exitCode = 1
    }
  }
} finally {
  await backend.dispose()
  await rm(folder, { recursive: true })
}

async function writeSparse(path: string, values: Float32Array): Promise<void> {
  const parts: Buffer[] = [Buffer.from('GGUF')]
  const uint32 = (n: number): void => void parts.push(Buffer.from(Uint32Array.of(n).buffer))
  const uint64 = (n: number): void => void parts.push(Buffer.from(BigUint64Array.of(BigInt(n)).buffer))
  uint32(3)
  uint64(1)
  uint64(0)
  uint64(1)
  parts.push(Buffer.from('m'))
  uint32(2)
  uint64(COLUMNS)
  uint64(ROWS)
  uint32(2)
  uint64(0)
  const header = Buffer.concat(parts)
  const data = Math.ceil(header.length / 32) * 32
  const row = new Uint8Array(ROW_BYTES)
  quantize('q4_0', values, 1, COLUMNS, row)
  const file = await open(path, 'w')
  await file.write(header, 0, header.length, 0)
  await file.write(row, 0, row.length, data + (ROWS - 1) * ROW_BYTES)
  await file.close()
}

function multiply(store: WeightStore, x: Float32Array): Float32Array {
  const g = new Graph(backend, 8)
  const input = g.input('f32', COLUMNS, 1)
  const out = g.output(g.mulMat(store.get('m'), input))
  g.allocate()
  new Float32Array(g.bytes(input)).set(x)
  g.computeNow()
  const result = new Float32Array(g.bytes(out)).slice()
  g.dispose()
  return result
}

function lookUp(store: WeightStore): Float32Array {
  const g = new Graph(backend, 8)
  const ids = g.input('i32', 1)
  const out = g.output(g.getRows(store.rows('m'), ids))
  g.allocate()
  new Int32Array(g.bytes(ids)).set([ROWS - 1])
  g.computeNow()
  const result = new Float32Array(g.bytes(out)).slice()
  g.dispose()
  return result
}
