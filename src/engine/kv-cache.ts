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

interface LayerCells {
  readonly keys: StoredTensor
  readonly values: StoredTensor
}

/**
 * Keys and values of all sequences: per layer one tensor [kvDim, cells] for keys and one [cells, kvDim] for values, which
 * stand transposed because attention sums over cells. A slot is a run of cells that doubles as its sequence grows; slots
 * move only then. Cells that no sequence uses are zero: attention multiplies masked cells by 0, and what another
 * sequence left there need not be a number.
 */
export class KvCache {
  readonly context: number
  /** Cells of every layer, for all slots. */
  cells = 0
  private readonly backend: Backend
  private readonly type: 'f32' | 'f16'
  private readonly width: number
  private layers: LayerCells[] = []
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

  /** Values of a layer: [cells, width]. */
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
    const s = slot as MovableSlot
    if (this.slots.delete(s)) this.clear(s.base, s.used)
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
      if (base !== s.base) {
        for (const layer of this.layers) this.copyCells(layer, layer, s.base, base, used)
        this.clear(s.base, s.used)
      }
      s.base = base
      s.capacity = capacity
      return
    }
    s.capacity = capacity
    s.used = used
    this.compact()
  }

  private of(layer: number): LayerCells {
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
    const moves: { from: number; to: number; count: number }[] = []
    let base = 0
    for (const s of this.slots) {
      moves.push({ from: s.base, to: base, count: s.used })
      s.base = base
      base += s.capacity
    }
    try {
      const count = this.layers.length
      for (let l = 0; l < count; l++) {
        const old = this.of(l)
        const fresh = this.allocateLayer(cells)
        for (const m of moves) this.copyCells(old, fresh, m.from, m.to, m.count)
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

  /** Copies `count` cells, from one place to another that does not overlap it. */
  private copyCells(from: LayerCells, to: LayerCells, source: number, target: number, count: number): void {
    if (count === 0) return
    const row = this.width * this.elementBytes
    to.keys.view.set(from.keys.view.subarray(source * row, (source + count) * row), target * row)
    const read = columns(from.values, this.elementBytes)
    const write = columns(to.values, this.elementBytes)
    for (let i = 0; i < this.width; i++) write(i, target, count).set(read(i, source, count))
  }

  private clear(base: number, count: number): void {
    if (count === 0 || this.broken !== null) return
    const row = this.width * this.elementBytes
    for (const { keys, values } of this.layers) {
      keys.view.fill(0, base * row, (base + count) * row)
      const column = columns(values, this.elementBytes)
      for (let i = 0; i < this.width; i++) column(i, base, count).fill(0)
    }
  }

  private get elementBytes(): number {
    return this.type === 'f32' ? 4 : 2
  }

  private allocate(layers: number, cells: number): void {
    this.layers = Array.from({ length: layers }, () => this.allocateLayer(cells))
    this.cells = cells
  }

  private allocateLayer(cells: number) {
    return {
      keys: new StoredTensor(this.backend, this.type, this.width, cells),
      values: new StoredTensor(this.backend, this.type, cells, this.width),
    }
  }
}

/** Reads the cells `from` .. `from + count - 1` of element i of the values as bytes. */
function columns({ view, tensor }: StoredTensor, elementBytes: number) {
  const line = tensor.shape[0] * elementBytes
  return (i: number, from: number, count: number): Uint8Array =>
    view.subarray(i * line + from * elementBytes, i * line + (from + count) * elementBytes)
}
