import type { TensorType } from '../checkpoint/tensor-type.js'
import type { Backend } from './backend.js'
import { Context } from './context.js'
import { Graph } from './graph.js'
import { ggml, type Pointer } from './library.js'
import type { Tensor } from './tensor.js'

/** Copies of the matrix are read in turn, so that none stays in a cache near the cores; many rows hide that anyway. */
const BYTES_IN_TURN = 16 << 20
const MOST_COPIES = 64
const MANY_ROWS = 32

/**
 * Milliseconds that one product of a matrix [columns, rows of the matrix] with `rows` rows takes where the matrix lies
 * in the named buffer type (null: plain memory). The least of `repeats` measurements: other work on the machine only ever adds.
 */
export function productCost(
  backend: Backend,
  bufferType: string | null,
  type: TensorType,
  shape: readonly [number, number],
  rows: number,
  repeats = 4,
): number {
  const { functions: f } = ggml()
  const buft = bufferType === null ? backend.hostBufferType : backend.extraBufferTypes().get(bufferType)
  if (buft === undefined) throw new RangeError(`this processor has no buffer type ${bufferType}`)
  const probe = new Context(1)
  const bytes = probe.tensor(type, ...shape).bytes
  probe.dispose()
  const copies = rows >= MANY_ROWS ? 1 : Math.max(1, Math.min(MOST_COPIES, Math.ceil(BYTES_IN_TURN / bytes)))
  const context = new Context(copies)
  let buffer: Pointer | null = null
  const graph = new Graph(backend, 8 + copies)
  try {
    const weights: Tensor[] = Array.from({ length: copies }, () => context.tensor(type, ...shape))
    buffer = f.ggml_backend_alloc_ctx_tensors_from_buft(context.pointer, buft) as Pointer | null
    if (buffer === null) throw new Error('out of memory while measuring')
    f.ggml_backend_buffer_clear(buffer, 0)
    const x = graph.input('f32', shape[0], rows)
    for (const w of weights) graph.expand(graph.mulMat(w, x))
    graph.allocate()
    new Float32Array(graph.bytes(x)).fill(0.5)
    let least = Number.POSITIVE_INFINITY
    // One more than asked for: the first also touches the memory.
    for (let i = 0; i <= repeats; i++) least = Math.min(least, graph.computeNow())
    return least / copies
  } finally {
    graph.dispose()
    if (buffer !== null) f.ggml_backend_buffer_free(buffer)
    context.dispose()
  }
}
