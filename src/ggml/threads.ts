import koffi from 'koffi'
import { ggml, type Pointer } from './library.js'
import { procAddress, prototype } from './proc.js'

/** Offsets in `ggml_threadpool_params`: bool cpumask[512], int n_threads, int prio, uint32 poll, bool strict, paused. */
const PARAMS_BYTES = 528
const POLL_OFFSET = 520

/** ggml's own default: threads spin for a while after a compute, ready for the next one. */
const POLL = 50

/** After so many short computes in a row the threads spin again. */
const SHORT_RUN = 32

const threadpoolNew = prototype('void * (void *params)')
const threadpoolFree = prototype('void (void *pool)')
const setThreadpool = prototype('void (void *backend, void *pool)')
const setThreads = prototype('void (void *backend, int threads)')

/**
 * The compute threads of one backend, in pools of which one is in use. Threads that spin between computes start the next
 * one sooner, which a model of 1 ms a token needs (1.26 ms against 1.36 on two cores). They also keep a core from the
 * JavaScript thread, which then waits for the scheduler's next tick: with computes on another thread, a token of
 * TinyLlama's shape took 28 ms instead of 25 that way. So they spin only while all computes are short. A pool of fewer
 * threads leaves the others asleep, where those of a larger one would be woken for nothing.
 */
export class Threads {
  private readonly backend: Pointer
  private readonly device: Pointer
  private readonly pools = new Map<string, Pointer>()
  private inUse = ''
  private shortRun = SHORT_RUN

  constructor(backend: Pointer, device: Pointer, count: number) {
    this.backend = backend
    this.device = device
    this.prepare(count, false)
  }

  /** Takes the pool for the next compute. @param long it will run on another thread than this one */
  prepare(count: number, long: boolean): void {
    this.shortRun = long ? 0 : this.shortRun + 1
    const poll = this.shortRun >= SHORT_RUN ? POLL : 0
    const name = `${count} ${poll}`
    if (name === this.inUse) return
    let pool = this.pools.get(name)
    if (pool === undefined) {
      const params = Buffer.alloc(PARAMS_BYTES + 64)
      ggml().functions.ggml_threadpool_params_init(params, count)
      params.writeUInt32LE(poll, POLL_OFFSET)
      pool = koffi.call(procAddress(this.device, 'ggml_threadpool_new'), threadpoolNew, params) as Pointer
      this.pools.set(name, pool)
    }
    koffi.call(procAddress(this.device, 'ggml_backend_set_n_threads'), setThreads, this.backend, count)
    koffi.call(procAddress(this.device, 'ggml_backend_cpu_set_threadpool'), setThreadpool, this.backend, pool)
    this.inUse = name
  }

  /** Ends the threads; the backend must be gone. */
  dispose(): void {
    for (const pool of this.pools.values()) {
      koffi.call(procAddress(this.device, 'ggml_threadpool_free'), threadpoolFree, pool)
    }
    this.pools.clear()
  }
}
