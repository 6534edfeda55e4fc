import koffi, { type TypeObject } from 'koffi'
import { ShoalError } from '../errors.js'
import { ggml, type Pointer } from './library.js'

/**
 * A compute that is expected to take longer than this, in ms, runs on another thread. The hand-over costs 0.08 ms
 * (measured), and a shorter stop of the event loop goes unnoticed.
 */
const ASYNC_ABOVE_MS = 2

/** Offsets in `ggml_threadpool_params`: bool cpumask[512], int n_threads, int prio, uint32 poll, bool strict, paused. */
const THREADPOOL_PARAMS_BYTES = 528
const THREADPOOL_POLL_OFFSET = 520

const procTypes = {
  setThreads: prototype('void (void *backend, int threads)'),
  extraBuffers: prototype('void * (void *device)'),
  threadpoolNew: prototype('void * (void *params)'),
  threadpoolFree: prototype('void (void *pool)'),
  setThreadpool: prototype('void (void *backend, void *pool)'),
}

/** The CPU backend of ggml with a thread pool of its own. One compute runs at a time. */
export class Backend {
  readonly threads: number
  readonly pointer: Pointer
  readonly device: Pointer
  /** Buffer type of plain host memory. */
  readonly hostBufferType: Pointer
  /** What the processor calls itself. */
  readonly description: string
  private readonly threadpool: Pointer
  private running: Promise<void> | null = null
  private disposed = false

  constructor(options: { threads: number }) {
    const { functions: f, cpu } = ggml()
    this.threads = options.threads
    this.device = cpu
    this.description = String(f.ggml_backend_dev_description(cpu))
    const pointer: Pointer | null = f.ggml_backend_dev_init(cpu, null)
    if (pointer === null) throw new ShoalError('library_missing', 'ggml could not start its CPU backend')
    this.pointer = pointer
    this.hostBufferType = f.ggml_backend_get_default_buffer_type(pointer)
    const params = Buffer.alloc(THREADPOOL_PARAMS_BYTES + 64)
    f.ggml_threadpool_params_init(params, options.threads)
    params.writeUInt32LE(50, THREADPOOL_POLL_OFFSET)
    this.threadpool = koffi.call(this.proc('ggml_threadpool_new'), procTypes.threadpoolNew, params)
    koffi.call(this.proc('ggml_backend_set_n_threads'), procTypes.setThreads, pointer, options.threads)
    koffi.call(this.proc('ggml_backend_cpu_set_threadpool'), procTypes.setThreadpool, pointer, this.threadpool)
  }

  /** Buffer types that keep matrices in an order of their own (AMX, CPU_REPACK), by name. */
  extraBufferTypes(): Map<string, Pointer> {
    const { functions: f } = ggml()
    const types = new Map<string, Pointer>()
    const list: Pointer | null = koffi.call(
      this.proc('ggml_backend_dev_get_extra_bufts'),
      procTypes.extraBuffers,
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

  /** Waits for a running compute, then frees the thread pool. Graphs and buffers must be disposed before. */
  async dispose(): Promise<void> {
    if (this.disposed) return
    this.disposed = true
    await this.running?.catch(() => {})
    ggml().functions.ggml_backend_free(this.pointer)
    koffi.call(this.proc('ggml_threadpool_free'), procTypes.threadpoolFree, this.threadpool)
  }

  private proc(name: string): Pointer {
    const { functions: f } = ggml()
    const address: Pointer | null = f.ggml_backend_reg_get_proc_address(
      f.ggml_backend_dev_backend_reg(this.device),
      name,
    )
    if (address === null) throw new ShoalError('library_version', `ggml's CPU library has no ${name}`)
    return address
  }
}

function prototype(definition: string): TypeObject {
  const [result = '', rest = ''] = definition.split(' (')
  const argumentTypes = rest
    .slice(0, -1)
    .split(', ')
    .map((a) => a.replace(/\w+$/, '').trim())
  return koffi.proto(result.trim(), argumentTypes)
}

function check(status: number): void {
  // GGML_STATUS: -2 allocation failed, -1 failed, 0 success, 1 aborted.
  if (status !== 0) throw new Error(status === -2 ? 'ggml ran out of memory' : `ggml's compute failed (${status})`)
}
