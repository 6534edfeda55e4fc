import koffi from 'koffi'
import { ShoalError } from '../errors.js'
import { ggml, type Pointer } from './library.js'
import { procAddress, prototype } from './proc.js'
import { processors } from './processors.js'
import { ThreadCount } from './thread-count.js'
import { Threads } from './threads.js'

/**
 * A compute that is expected to take longer than this, in ms, runs on another thread: a shorter stop of the event loop
 * goes unnoticed, and a hand-over costs 0.08 ms at the least.
 */
const ASYNC_ABOVE_MS = 10

const extraBuffers = prototype('void * (void *device)')

/** The CPU backend of ggml with threads of its own. One compute runs at a time. */
export class Backend {
  /** Threads that compute; where they were left open, the most of them. */
  readonly threads: number
  readonly pointer: Pointer
  readonly device: Pointer
  /** Buffer type of plain host memory. */
  readonly hostBufferType: Pointer
  /** What the processor calls itself. */
  readonly description: string
  /** Computes that had fewer threads than there are, because other programs needed processors. */
  gaveWay = 0
  private readonly computeThreads: Threads
  private readonly count: ThreadCount | null
  private running: Promise<void> | null = null
  private disposed = false

  /** @param options.threads always so many; default as many as others leave free */
  constructor(options: { threads?: number | undefined } = {}) {
    const { functions: f, cpu } = ggml()
    this.threads = options.threads ?? processors()
    this.count = options.threads === undefined ? new ThreadCount(this.threads) : null
    this.device = cpu
    this.description = String(f.ggml_backend_dev_description(cpu))
    const pointer: Pointer | null = f.ggml_backend_dev_init(cpu, null)
    if (pointer === null) throw new ShoalError('library_missing', 'ggml could not start its CPU backend')
    this.pointer = pointer
    this.hostBufferType = f.ggml_backend_get_default_buffer_type(pointer)
    this.computeThreads = new Threads(pointer, cpu, this.threads)
  }

  /** Buffer types that keep matrices in an order of their own (AMX, CPU_REPACK), by name. */
  extraBufferTypes(): Map<string, Pointer> {
    const { functions: f } = ggml()
    const types = new Map<string, Pointer>()
    const list: Pointer | null = koffi.call(
      procAddress(this.device, 'ggml_backend_dev_get_extra_bufts'),
      extraBuffers,
      this.device,
    )
    if (list === null) return types
    for (let i = 0; i < 16; i++) {
      const buft: Pointer | null = koffi.decode(list, i * 8, 'void *')
      if (buft === null) break
      types.set(String(f.ggml_backend_buft_name(buft)), buft)
    }
    return types
  }

  /**
   * Computes a graph: at once where it is expected to be short, else off the event loop.
   * @param expectedMs what it took last time, Infinity where unknown
   */
  compute(graph: Pointer, expectedMs: number): void | Promise<void> {
    if (this.disposed) throw new ShoalError('disposed', 'this model was disposed')
    if (this.running !== null) throw new Error('a compute is already running on this backend')
    const { functions: f } = ggml()
    const threads = this.count?.next() ?? this.threads
    if (threads < this.threads) this.gaveWay++
    this.computeThreads.prepare(threads, expectedMs > ASYNC_ABOVE_MS)
    if (expectedMs <= ASYNC_ABOVE_MS) {
      check(f.ggml_backend_graph_compute(this.pointer, graph))
      return
    }
    this.running = new Promise<void>((resolve, reject) => {
      f.ggml_backend_graph_compute.async(this.pointer, graph, (error: unknown, status: number) => {
        this.running = null
        try {
          if (error) throw error
          check(status)
          resolve()
        } catch (e) {
          reject(e)
        }
      })
    })
    return this.running
  }

  /** Tells what a compute took beside what it takes usually, in ms. */
  took(ms: number, usualMs: number): void {
    this.count?.took(ms, usualMs)
  }

  /** Waits for a running compute, then ends the threads. Graphs and buffers must be disposed before. */
  async dispose(): Promise<void> {
    if (this.disposed) return
    this.disposed = true
    await this.running?.catch(() => {})
    ggml().functions.ggml_backend_free(this.pointer)
    this.computeThreads.dispose()
  }
}

function check(status: number): void {
  // GGML_STATUS: -2 allocation failed, -1 failed, 0 success, 1 aborted.
  if (status !== 0) throw new Error(status === -2 ? 'ggml ran out of memory' : `ggml's compute failed (${status})`)
}
