import type { Backend } from '../ggml/backend.js'
import { StoredTensor } from '../ggml/store.js'
import type { Tensor } from '../ggml/tensor.js'

/** Cells of a new slot, and what capacities are multiples of. */
const FIRST_CELLS = 256

/** The cells of one sequence in every layer's cache: cell `base + p` belongs to position p. */
export interface Slot {
  readonly base: number
  readonly capacity: number
}

interface MovableSlot {
  base: number
  capacity: number
  /** Positions that hold data and must survive a move. */
  used: number
}

/**
 * Keys and values of all sequences: per layer one tensor [kvDim, cells] for keys and one for values. A slot is a run of
 * cells that doubles as its sequence grows; slots move only then.
 */
export class KvCache {
  readonly context: number
  private readonly backend: Backend
  private readonly type: 'f32' | 'f16'
  private readonly width: number
  private layers: { keys: StoredTensor; values: StoredTensor }[] = []
  private cells = 0
  private readonly slots = new Set<MovableSlot>()
  private readonly onMove: () => void
  /** Memory ended while the slots were being moved: what they hold is lost, for all sequences. */
  private broken: Error | null = null

  /**
   * @param width elements of one key (and one value): headDim * kvHeads
   * @param onMove called before tensors are replaced: graphs that name them must go
   */
  constructor(
    backend: Backend,
    options: { layers: number; width: number; type: 'f32' | 'f16'; context: number; onMove: () => void },
  ) {
    this.backend = backend
    this.type = options.type
    this.width = options.width
    this.context = options.context
    this.onMove = options.onMove
    this.allocate(options.layers, FIRST_CELLS)
  }

  /** Keys of a layer: [width, cells]. */
  keys(layer: number): Tensor {
    return this.of(layer).keys.tensor
  }

  /** Values of a layer: [width, cells]. */
  values(layer: number): Tensor {
    return this.of(layer).values.tensor
  }

  /** The bytes of a layer's keys and values. Do not keep them beyond the next `reserve`. */
  viewOf(layer: number): { keys: Uint8Array; values: Uint8Array } {
    const { keys, values } = this.of(layer)
    return { keys: keys.view, values: values.view }
  }

  get bytes(): number {
    return this.layers.reduce((sum, l) => sum + l.keys.view.length + l.values.view.length, 0)
  }

  open(): Slot {
    const slot: MovableSlot = { base: 0, capacity: 0, used: 0 }
    this.slots.add(slot)
    return slot
  }

  close(slot: Slot): void {
    this.slots.delete(slot as MovableSlot)
  }

  /** Makes room for positions 0 .. positions-1, of which the first `used` hold data. May move slots. */
  reserve(slot: Slot, positions: number, used: number): void {
    const s = slot as MovableSlot
    if (this.broken !== null) throw this.broken
    if (positions > this.context) throw new RangeError(`${positions} positions in a cache of ${this.context}`)
    if (positions > s.capacity) this.grow(s, positions, used)
    // They are written before another slot can make this one move.
    s.used = positions
  }

  dispose(): void {
    for (const l of this.layers) {
      l.keys.dispose()
      l.values.dispose()
    }
    this.layers = []
  }

  private grow(s: MovableSlot, positions: number, used: number): void {
    let capacity = Math.max(s.capacity, FIRST_CELLS)
    while (capacity < positions) capacity *= 2
    capacity = Math.min(capacity, Math.ceil(this.context / FIRST_CELLS) * FIRST_CELLS)
    const base = this.gap(capacity, s)
    if (base !== null) {
      this.copyRows(this.layers, this.layers, s.base, base, used)
      s.base = base
      s.capacity = capacity
      return
    }
    s.capacity = capacity
    s.used = used
    this.compact()
  }

  private of(layer: number): { keys: StoredTensor; values: StoredTensor } {
    if (this.broken !== null) throw this.broken
    const l = this.layers[layer]
    if (l === undefined) throw new RangeError(`the cache has no layer ${layer}`)
    return l
  }

  /** First free run of `capacity` cells, the slot's own cells counting as taken; null where there is none. */
  private gap(capacity: number, slot: MovableSlot): number | null {
    const taken = [...this.slots].filter((s) => s.capacity > 0).sort((a, b) => a.base - b.base)
    const next = taken.find((s) => s.base >= slot.base + slot.capacity && s !== slot)
    if (slot.capacity > 0 && slot.base + capacity <= (next?.base ?? this.cells)) return slot.base
    let base = 0
    for (const s of taken) {
      if (s.base - base >= capacity) return base
      base = Math.max(base, s.base + s.capacity)
    }
    return this.cells - base >= capacity ? base : null
  }

  /** Lays all slots out anew in twice the cells, layer by layer, so that only one layer exists twice at a time. */
  private compact(): void {
    this.onMove()
    const needed = [...this.slots].reduce((sum, s) => sum + s.capacity, 0)
    let cells = this.cells
    while (cells < needed) cells *= 2
    const moves: { from: number; to: number; rows: number }[] = []
    let base = 0
    for (const s of this.slots) {
      moves.push({ from: s.base, to: base, rows: s.used })
      s.base = base
      base += s.capacity
    }
    try {
      const count = this.layers.length
      for (let l = 0; l < count; l++) {
        const old = this.of(l)
        const fresh = this.allocateLayer(cells)
        for (const m of moves) this.copyRows([old], [fresh], m.from, m.to, m.rows)
        this.layers[l] = fresh
        old.keys.dispose()
        old.values.dispose()
      }
    } catch (cause) {
      this.broken = new Error('out of memory: the cache could not grow, and the model must be loaded anew', { cause })
      throw this.broken
    }
    this.cells = cells
  }

  private copyRows(
    from: readonly { keys: StoredTensor; values: StoredTensor }[],
    to: readonly { keys: StoredTensor; values: StoredTensor }[],
    source: number,
    target: number,
    rows: number,
  ): void {
    if (rows === 0 || (from === to && source === target)) return
    const row = this.width * (this.type === 'f32' ? 4 : 2)
    from.forEach((f, i) => {
      const t = to[i] as { keys: StoredTensor; values: StoredTensor }
      t.keys.view.set(f.keys.view.subarray(source * row, (source + rows) * row), target * row)
      t.values.view.set(f.values.view.subarray(source * row, (source + rows) * row), target * row)
    })
  }

  private allocate(layers: number, cells: number): void {
    this.layers = Array.from({ length: layers }, () => this.allocateLayer(cells))
    this.cells = cells
  }

  private allocateLayer(cells: number) {
    return {
      keys: new StoredTensor(this.backend, this.type, this.width, cells),
      values: new StoredTensor(this.backend, this.type, this.width, cells),
    }
  }
}
