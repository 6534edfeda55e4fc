import type { HiddenRows, RowIndex } from './hidden-rows.js'
import type { KvCache, Slot } from './kv-cache.js'

/** Rows of logits that a sequence has room for; more are made where they are needed. */
const MOST_LOGITS = 16

let count = 0

/**
 * What the engine knows of one sequence: how far each layer has seen it, and the hidden rows of the positions that some
 * layer has not seen yet. `cached[l]` never rises with l under exit policies: the staircase. A layer that a skip plan
 * leaves out stays behind without waiting rows.
 */
export class Sequence {
  /** Tells sequences apart, for people. */
  readonly id = count++
  readonly slot: Slot
  /** Per layer: positions 0 .. cached[l]-1 are in its cache. */
  readonly cached: Int32Array
  /** Positions that were fed. */
  length = 0
  /**
   * Per layer: positions that have their keys and values there and whose hidden row still is the layer's input, because
   * the last row of their feed went first and nothing above wants them yet.
   */
  readonly unfinished = new Map<number, number[]>()
  private readonly cache: KvCache
  private readonly rows: HiddenRows
  private readonly rowOf = new Map<number, RowIndex>()
  private readonly logits: Float32Array[] = []
  private disposed = false

  constructor(cache: KvCache, rows: HiddenRows, layers: number) {
    this.cache = cache
    this.rows = rows
    this.cached = new Int32Array(layers)
    this.slot = cache.open()
  }

  /** Positions that every layer has seen. */
  get complete(): number {
    return this.cached.reduce((least, n) => Math.min(least, n), this.length)
  }

  /** Positions whose hidden row waits for a layer above. */
  get waiting(): number {
    return this.rowOf.size
  }

  /** Counts `length` positions as seen by every layer: their keys and values stay zero. For measuring what a step takes. */
  assume(length: number): void {
    this.cache.reserve(this.slot, length, this.length)
    this.length = length
    this.cached.fill(length)
  }

  /** Makes room for `count` more positions in the cache. */
  reserve(count: number): void {
    this.cache.reserve(this.slot, this.length + count, this.length)
  }

  /** The hidden row of a position, taken now where it has none. */
  row(position: number): RowIndex {
    let row = this.rowOf.get(position)
    if (row === undefined) {
      row = this.rows.take()
      this.rowOf.set(position, row)
    }
    return row
  }

  /** The hidden row that a position holds already. */
  waitingRow(position: number): RowIndex {
    const row = this.rowOf.get(position)
    if (row === undefined) throw new Error(`position ${position} holds no hidden row`)
    return row
  }

  waitingPositions(): number[] {
    return [...this.rowOf.keys()]
  }

  /** Notes positions whose rows have only left keys and values at a layer. */
  leaveUnfinished(layer: number, positions: readonly number[]): void {
    this.unfinished.set(layer, [...(this.unfinished.get(layer) ?? []), ...positions])
  }

  releaseRow(position: number): void {
    const row = this.rowOf.get(position)
    if (row === undefined) return
    this.rowOf.delete(position)
    this.rows.release(row)
  }

  /** Forgets positions from `length` on. */
  truncate(length: number): void {
    for (const position of this.waitingPositions()) if (position >= length) this.releaseRow(position)
    for (const [layer, positions] of this.unfinished) {
      const kept = positions.filter((position) => position < length)
      if (kept.length > 0) this.unfinished.set(layer, kept)
      else this.unfinished.delete(layer)
    }
    if (length < this.length) this.cache.truncate(this.slot, length)
    this.length = Math.min(this.length, length)
    for (let l = 0; l < this.cached.length; l++) this.cached[l] = Math.min(this.cached[l] as number, length)
  }

  /**
   * A sequence of its own that has seen what this one has, or its first positions: every layer's keys and values and every row that waits are
   * copied, so it costs time in proportion to the length. Only between steps: slots may move.
   */
  fork(length = this.length): Sequence {
    const fork = new Sequence(this.cache, this.rows, this.cached.length)
    try {
      fork.reserve(length)
      fork.length = length
      this.cached.forEach((all, layer) => {
        const count = Math.min(all, length)
        fork.cached[layer] = count
        this.cache.copy(layer, this.slot, fork.slot, count)
      })
      for (const [position, row] of this.rowOf) if (position < length) this.rows.copy(row, fork.row(position))
      for (const [layer, positions] of this.unfinished) {
        const kept = positions.filter((position) => position < length)
        if (kept.length > 0) fork.leaveUnfinished(layer, kept)
      }
      return fork
    } catch (error) {
      fork.dispose()
      throw error
    }
  }

  /**
   * A copy of logits [V] at a place of the sequence's own, good until the place is used again: new memory for every token
   * would keep the garbage collector busy beside the threads that compute.
   */
  keepLogits(logits: Float32Array, place: number): Float32Array {
    if (place >= MOST_LOGITS) return logits.slice()
    this.logits[place] ??= new Float32Array(logits.length)
    this.logits[place].set(logits)
    return this.logits[place]
  }

  dispose(): void {
    if (this.disposed) return
    this.disposed = true
    this.truncate(0)
    this.cache.close(this.slot)
  }
}
