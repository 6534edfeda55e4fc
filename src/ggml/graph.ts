import koffi from 'koffi'
import { TENSOR_TYPES, type TensorType } from '../checkpoint/tensor-type.js'
import type { Backend } from './backend.js'
import { Context } from './context.js'
import { LayerOperations } from './layer-operations.js'
import { ggml, type Pointer } from './library.js'
import { noteMade } from './making.js'
import { must, pointerOf, type Tensor } from './tensor.js'

export type { Rope, Scores } from './layer-operations.js'
export { Tensor } from './tensor.js'

/** Bytes that a processor moves at once. */
const CACHE_LINE = 64

/**
 * A compute graph: operations are added one by one, then memory is planned once and the graph is computed many times.
 * Every operation checks types and shapes first, because ggml ends the process where they do not fit.
 */
export class Graph extends LayerOperations {
  /** What the last compute took, in ms, or the first is expected to take: what is unknown runs off the event loop. */
  lastMs = Number.POSITIVE_INFINITY
  private usualMs = Number.POSITIVE_INFINITY
  private readonly backend: Backend
  private readonly graph: Pointer
  private allocator: Pointer | null = null
  private disposed = false

  /** @param capacity tensors that the graph can hold, operations, inputs and views together */
  constructor(backend: Backend, capacity: number) {
    const overhead = Number(ggml().functions.ggml_graph_overhead_custom(capacity, false))
    super(new Context(capacity, overhead))
    this.backend = backend
    this.graph = this.f.ggml_new_graph_custom(this.context.pointer, capacity, false)
    noteMade(this)
  }

  /**
   * A tensor that is written before each compute. Its memory may be reused within a compute. A list is rounded up to
   * whole cache lines, since what is allocated after it would start in the middle of one: a prompt of 128 tokens took
   * 0.82 s instead of 0.51 that way (q4_0 on AMX).
   */
  input(type: TensorType, ...shape: number[]): Tensor {
    const [length = 1] = shape
    const line = CACHE_LINE / TENSOR_TYPES[type].blockBytes
    const padded = shape.length === 1 && length % line !== 0
    const t = padded ? this.context.tensor(type, Math.ceil(length / line) * line) : this.context.tensor(type, ...shape)
    this.f.ggml_set_input(pointerOf(t))
    return padded ? this.view(t, [length, 1, 1], [t.bytes, t.bytes], 0) : t
  }

  /** Puts a tensor and all that it needs at the end of the graph: what comes later may rely on its effect. */
  expand(t: Tensor): void {
    this.f.ggml_build_forward_expand(this.graph, pointerOf(t))
  }

  /** Expands a tensor and keeps its memory from being reused, so that it can be read after the compute. */
  output(t: Tensor): Tensor {
    this.f.ggml_set_output(pointerOf(t))
    this.expand(t)
    return t
  }

  /** Plans and takes the memory. After this nothing can be added. */
  allocate(): void {
    if (this.allocator !== null) return
    this.context.seal()
    this.allocator = this.f.ggml_gallocr_new(this.backend.hostBufferType) as Pointer
    if (!this.f.ggml_gallocr_alloc_graph(this.allocator, this.graph)) {
      this.dispose()
      throw new Error('out of memory: a compute graph could not be allocated')
    }
  }

  /** Bytes that the graph and its intermediate results take. */
  get memory(): number {
    const results = this.allocator === null ? 0 : Number(this.f.ggml_gallocr_get_buffer_size(this.allocator, 0))
    return this.context.bytes + results
  }

  /** True where the graph uses an input, which else has no memory. */
  uses(t: Tensor): boolean {
    return this.f.ggml_get_data(pointerOf(t)) !== null
  }

  /** Memory of an input or output. Do not keep it beyond `dispose`. */
  bytes(t: Tensor): ArrayBuffer {
    if (this.allocator === null || this.disposed) throw new Error('the graph has no memory')
    must(t.contiguous, 'bytes', t)
    const data: Pointer | null = this.f.ggml_get_data(pointerOf(t))
    if (data === null) throw new Error(`${t.toString()} has no memory: nothing in the graph uses it`)
    return koffi.view(data, t.bytes)
  }

  /** Computes the graph; a promise where it runs off the event loop. */
  compute(): void | Promise<void> {
    if (this.allocator === null || this.disposed) throw new Error('the graph has no memory')
    const start = performance.now()
    const done = this.backend.compute(this.graph, this.lastMs)
    if (done === undefined) return this.note(performance.now() - start)
    return done.then(() => this.note(performance.now() - start))
  }

  private note(ms: number): void {
    this.lastMs = ms
    // The least of late: what it takes where nothing is in its way. It may rise by a hundredth each time.
    this.usualMs = Math.min(this.usualMs * 1.01, ms)
    this.backend.took(ms, this.usualMs)
  }

  /** Computes on this thread and gives the time it took, in ms. */
  computeNow(): number {
    this.lastMs = 0
    void this.compute()
    return this.lastMs
  }

  dispose(): void {
    if (this.disposed) return
    this.disposed = true
    if (this.allocator !== null) this.f.ggml_gallocr_free(this.allocator)
    this.context.dispose()
  }
}
