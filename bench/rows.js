/**
 * What several rows cost: one product of a matrix with 1 to 16 rows over the same with one row, for element types and the
 * buffers that ggml has for this processor, the matrices read from memory. Few rows that cost little more than one are
 * what batches and lossless drafts live on.
 *
 *     npm run bench:rows -- [--types q4_0,q8_0,q4_k,f16,f32] [--shape 2048x5632] [--rows 1,2,3,4,5,6,7,8,12,16] [--threads 2]
 */
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { Backend } from '../dist/ggml/backend.js'
import { productCosts } from '../dist/ggml/product-cost.js'
import { supportsProduct } from '../dist/ggml/weights.js'

const { values: options } = parseArgs({
  options: {
    types: { type: 'string', default: 'q4_0,q8_0,q4_k,f16,f32' },
    shape: { type: 'string', default: '2048x5632' },
    rows: { type: 'string', default: '1,2,3,4,5,6,7,8,12,16' },
    threads: { type: 'string', default: String(availableParallelism()) },
  },
})
const shape = options.shape.split('x').map(Number)
const rows = options.rows.split(',').map(Number)
const backend = new Backend({ threads: Number(options.threads) })
console.log(`${backend.description}, ${options.threads} threads, matrices of ${options.shape}`)
console.log('type  buffer      ms of one', rows.map((count) => String(count).padStart(6)).join(''))
for (const type of options.types.split(',')) {
  for (const buffer of [null, ...backend.extraBufferTypes().keys()]) {
    if (buffer !== null && !supportsProduct(backend, buffer, type, shape)) continue
    const costs = await productCosts(backend, buffer, type, shape, [1, ...rows])
    const relative = costs.slice(1).map((ms) => (ms / costs[0]).toFixed(2).padStart(6))
    console.log(
      `${type.padEnd(6)}${(buffer ?? 'plain').padEnd(12)}${costs[0].toFixed(3).padStart(9)} ${relative.join('')}`,
    )
  }
}
await backend.dispose()
