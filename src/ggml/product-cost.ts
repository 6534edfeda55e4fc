import type { TensorType } from '../checkpoint/tensor-type.js'
import type { Backend } from './backend.js'
import { Context } from './context.js'
import { Graph } from './graph.js'
import { ggml, type Pointer } from './library.js'
import type { Tensor } from './tensor.js'

/** A model's matrices are read in turn; as many copies as make up so many bytes are more than the caches of most cores hold. */
export const BYTES_IN_TURN = 64 << 20
const MOST_COPIES = 512
/** So many rows hide where a matrix lies. */
const MANY_ROWS = 32

/** Measurements of this process wait for each other: threads of two would share cores. */
let last: Promise<unknown> = Promise.resolve()

/**
 * Milliseconds that one product of a matrix [columns, rows of the matrix] takes with each of the numbers of rows, where the
 * matrix lies in the named buffer type (null: plain memory). The least of `repeats` measurements: other work on the
 * machine only ever adds. The event loop has its turn between two of them.
 * @param bytesInTurn of copies that are read before the first comes again: what the model's matrices take, if that is less than BYTES_IN_TURN
 */
export function productCosts(...given: Parameters<typeof measure>): Promise<number[]> {
  const mine = last.then(() => measure(...given))
  last = mine.catch(() => undefined)
  return mine
}

async function measure(
  backend: Backend,
  bufferType: string | null,
  type: TensorType,
  shape: readonly [number, number],
  rows: readonly number[],
  { repeats = 4, bytesInTurn = BYTES_IN_TURN }: { repeats?: number; bytesInTurn?: number } = {},
): Promise<number[]> {
  const { functions: f } = ggml()
  const buft = bufferType === null ? backend.hostBufferType : backend.extraBufferTypes().get(bufferType)
  if (buft === undefined) throw new RangeError(`this processor has no buffer type ${bufferType}`)
  const probe = new Context(1)
  const bytes = probe.tensor(type, ...shape).bytes
  probe.dispose()
  const copies = Math.max(1, Math.min(MOST_COPIES, Math.ceil(Math.min(bytesInTurn, BYTES_IN_TURN) / bytes)))
  const context = new Context(copies)
  let buffer: Pointer | null = null
  try {
    const weights: Tensor[] = Array.from({ length: copies }, () => context.tensor(type, ...shape))
    buffer = f.ggml_backend_alloc_ctx_tensors_from_buft(context.pointer, buft) as Pointer | null
    if (buffer === null) throw new Error('out of memory while measuring')
    f.ggml_backend_buffer_clear(buffer, 0)
    const costs: number[] = []
    for (const count of rows) {
      const some = count >= MANY_ROWS ? weights.slice(0, 1) : weights
      costs.push(await leastMs(backend, some, shape[0], count, repeats))
    }
    return costs
  } finally {
    if (buffer !== null) f.ggml_backend_buffer_free(buffer)
    context.dispose()
  }
}

/** Milliseconds of one product, of several in a row. */
async function leastMs(
  backend: Backend,
  weights: readonly Tensor[],
  columns: number,
  rows: number,
  repeats: number,
): Promise<number> {
  const graph = new Graph(backend, 8 + weights.length)
  try {
    const x = graph.input('f32', columns, rows)
    for (const w of weights) graph.expand(graph.mulMat(w, x))
    graph.allocate()
    new Float32Array(graph.bytes(x)).fill(0.5)
    let least = Number.POSITIVE_INFINITY
    // One more than asked for: the first also touches the memory.
    for (let i = 0; i <= repeats; i++) {
      least = Math.min(least, graph.computeNow())
      await new Promise((resolve) => setImmediate(resolve))
    }
    return least / weights.length
  } finally {
    graph.dispose()
  }
}
