import { availableParallelism } from 'node:os'
import { type ProcessorTime, readProcessorTime } from './processors.js'

/** How often the use of the processors is looked at, in ms; the system counts it in steps of 10. */
const INTERVAL = 200
/** A compute that takes so many times as long as usual, and so many ms more, is reason to look at once. */
const SLOW = 3
const SLOW_MS = 8
/** Time that must have passed to judge by, in ms. */
const LEAST_WINDOW = 40
/** After so long without a compute what was read is forgotten, in ms. */
const IDLE = 100
/** A processor counts as free where others take no more of it than this. */
const SPARE = 0.35

/**
 * How many threads compute, where the user leaves it open. ggml's threads wait for each other some hundred times a token by
 * spinning, so a thread that has lost its processor to another program holds up all: with one busy program on two
 * processors two threads are fifty times slower than one. So as many processors are left alone as others keep busy.
 */
export class ThreadCount {
  private current: number
  private last: { at: number; time: ProcessorTime | null }
  /** When the last compute ended. */
  private busyUntil: number

  /**
   * @param most threads where nothing else runs
   * @param available processors that this process may run on, which a quota may keep it from filling
   * @param read,now the system's clocks, for tests
   */
  constructor(
    private readonly most: number,
    private readonly available: number = availableParallelism(),
    private readonly read: () => ProcessorTime | null = readProcessorTime,
    private readonly now: () => number = () => performance.now(),
  ) {
    this.current = most
    this.busyUntil = now()
    this.last = { at: now(), time: most > 1 ? read() : null }
  }

  /** For the compute that comes next. */
  next(): number {
    if (this.most === 1) return 1
    // What others did while this process had nothing to do says nothing of now.
    if (this.now() - this.busyUntil > IDLE) this.last = { at: this.now(), time: this.read() }
    else if (this.now() - this.last.at >= INTERVAL) this.look()
    return this.current
  }

  /** Tells what a compute took, and what it takes usually, in ms. */
  took(ms: number, usual: number): void {
    this.busyUntil = this.now()
    if (this.current === 1 || ms < SLOW * usual || ms - usual < SLOW_MS) return
    if (this.now() - this.last.at >= LEAST_WINDOW) this.look()
  }

  private look(): void {
    const at = this.now()
    const time = this.read()
    const { at: before, time: last } = this.last
    this.last = { at, time }
    if (time === null || last === null) return
    const others = Math.max(0, time.busy - last.busy - (time.own - last.own)) / (at - before)
    this.current = Math.min(this.most, Math.max(1, Math.floor(this.available - others + SPARE)))
  }
}
