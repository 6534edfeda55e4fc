import type { Backend } from '../../ggml/backend.js'
import { making } from '../../ggml/making.js'
import { StoredTensor } from '../../ggml/store.js'
import type { Tensor } from '../../ggml/tensor.js'
import { type KvType, kvElementBytes } from './kv-type.js'

/** Cells of a new slot, and what capacities are multiples of. */
const FIRST_CELLS = 256

/** Cells of a slot that holds so many positions: slots double, up to the context. */
export function slotCells(positions: number, context: number): number {
  let cells = FIRST_CELLS
  while (cells < positions) cells *= 2
  return Math.min(cells, Math.ceil(context / FIRST_CELLS) * FIRST_CELLS)
}

/** So many cells, without those that are too few for one more slot. */
export function wholeSlots(cells: number): number {
  return Math.floor(cells / FIRST_CELLS) * FIRST_CELLS
}

/** The cells of one sequence in every layer's cache: cell `base + p` belongs to position p. */
export interface Slot {
  readonly base: number
  readonly capacity: number
  /**
   * True where the values stand transposed, all cells of one element after the other: a long sequence attends by products that sum over cells. A
   * short one attends by ggml's kernel, and gives what llama.cpp gives, bit for bit; so does one whose values are quantised, block by block
   * along a cell.
   */
  readonly transposed: boolean
}

/** Where element i of the value at a position stands in a layer's values, counted in elements. */
export function valueIndex(slot: Slot, width: number, position: number, i: number): number {
  return slot.base * width + (slot.transposed ? i * slot.capacity + position : position * width + i)
}

interface MovableSlot {
  base: number
  capacity: number
  transposed: boolean
  /** Positions that hold data and must survive a move. */
  used: number
}

/** Copies of a slot's cells, as words. */
interface SlotCells {
  readonly keys: Uint16Array | Uint32Array
  readonly values: Uint16Array | Uint32Array
}

/** Where a slot's first cells go. */
interface Move {
  readonly from: Slot
  readonly to: Slot
  readonly count: number
}

interface LayerCells {
  /** Of one key (and one value), in words of `wordsOf`. */
  readonly width: number
  readonly keys: StoredTensor
  readonly values: StoredTensor
}

function disposeCells({ keys, values }: LayerCells): void {
  keys.dispose()
  values.dispose()
}

/**
 * Keys and values of all sequences: per layer one tensor [width, cells] for keys and one for values. A slot is a run of
 * cells that doubles as its sequence grows; slots move only then. Cells that no sequence uses are zero: attention multiplies masked cells by 0, and what another
 * sequence left there, or one that was truncated, need not be a number.
 */
export class KvCache {
  readonly context: number
  private readonly backend: Backend
  private readonly type: KvType
  private readonly widths: readonly number[]
  private layers: LayerCells[] = []
  private cells = 0
  private readonly slots = new Set<MovableSlot>()
  private readonly onMove: () => void
  /** The cache doubles up to so many cells; beyond, it gets just what slots need. */
  private readonly most: number
  /** Memory ended while slots were being moved, and for moving them back: what they hold is lost, for all sequences. */
  private broken: Error | null = null

  /**
   * @param widths elements of one key (and one value) of each layer: headDim * kvHeads
   * @param most the cache doubles up to so many cells; beyond, it gets just what slots need
   * @param onMove called before tensors are replaced: graphs that name them must go
   */
  constructor(
    backend: Backend,
    options: {
      widths: readonly number[]
      type: KvType
      context: number
      most?: number
      onMove: () => void
    },
  ) {
    this.backend = backend
    this.type = options.type
    this.widths = options.widths
    this.context = options.context
    this.most = options.most ?? Number.POSITIVE_INFINITY
    this.onMove = options.onMove
    this.allocate(FIRST_CELLS)
  }

  /** Keys of a layer: [width, cells]. */
  keys(layer: number): Tensor {
    return this.of(layer).keys.tensor
  }

  /** Values of a layer: [width, cells], in each slot's own order. */
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
    const slot: MovableSlot = { base: 0, capacity: 0, transposed: false, used: 0 }
    this.slots.add(slot)
    return slot
  }

  close(slot: Slot): void {
    const s = slot as MovableSlot
    if (this.slots.delete(s)) this.clear(s)
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

  /** Gives back cells that no slot needs; slots move where that is worth it. */
  shrink(): void {
    if (this.broken !== null) return
    const needed = [...this.slots].reduce((sum, { capacity }) => sum + capacity, 0)
    let cells = FIRST_CELLS
    while (cells < needed) cells *= 2
    if (cells < this.cells) this.layOut(cells, (slot) => slot)
  }

  /** Forgets what positions from one on hold. */
  truncate(slot: Slot, length: number): void {
    const s = slot as MovableSlot
    this.clear(s, length)
    s.used = Math.min(s.used, length)
  }

  /** Writes the first `count` cells of a slot into another one, in one layer; both must have room for them. */
  copy(layer: number, from: Slot, to: Slot, count: number): void {
    if (count > Math.min(from.capacity, to.capacity)) throw new RangeError(`${count} cells in a smaller slot`)
    const cells = this.of(layer)
    this.write(cells, this.read(cells, from, count), from, to, count)
  }

  dispose(): void {
    for (const cells of this.layers) disposeCells(cells)
    this.layers = []
  }

  private grow(s: MovableSlot, positions: number, used: number): void {
    const capacity = Math.max(s.capacity, slotCells(positions, this.context))
    const base = this.gap(capacity, s)
    if (base !== null) {
      const { transposed } = s
      const before = { base: s.base, capacity: s.capacity, transposed }
      const kept = this.layers.map((layer) => this.read(layer, before, used))
      this.clear(s)
      Object.assign(s, this.slotAt(base, capacity))
      this.layers.forEach((layer, i) => {
        this.write(layer, kept[i] as SlotCells, before, s, used)
      })
      return
    }
    this.compact(s, capacity, used)
  }

  private slotAt(base: number, capacity: number): Slot {
    return { base, capacity, transposed: this.type !== 'q8_0' && capacity > FIRST_CELLS }
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

  /** Lays all slots out anew, in twice the cells where they need them. */
  private compact(growing: MovableSlot, capacity: number, used: number): void {
    const needed = [...this.slots].reduce((sum, slot) => sum + (slot === growing ? capacity : slot.capacity), 0)
    let cells = this.cells
    while (cells < needed) cells *= 2
    this.layOut(Math.max(needed, Math.min(cells, this.most)), (slot) => (slot === growing ? { capacity, used } : slot))
    growing.used = used
  }

  /**
   * Moves all slots into so many cells, one after the other, layer by layer, so that only one layer exists twice at a time. Where memory ends on
   * the way, everything goes back to where it was.
   * @param sizeOf a slot's new capacity, and the cells of it that are kept
   */
  private layOut(cells: number, sizeOf: (slot: MovableSlot) => { capacity: number; used: number }): void {
    this.onMove()
    let base = 0
    const moves = [...this.slots].map((slot): Move => {
      const { capacity, used } = sizeOf(slot)
      const { transposed } = slot
      const to = this.slotAt(base, capacity)
      base += capacity
      return { from: { base: slot.base, capacity: slot.capacity, transposed }, to, count: used }
    })
    let moved = 0
    try {
      for (; moved < this.layers.length; moved++) this.relay(moved, cells, moves)
    } catch (cause) {
      this.moveBack(moved, moves, cause)
      throw new Error('out of memory: the cache could not grow', { cause })
    }
    ;[...this.slots].forEach((slot, i) => {
      Object.assign(slot, (moves[i] as Move).to)
    })
    this.cells = cells
  }

  /** Puts a layer's cells into new tensors. */
  private relay(layer: number, cells: number, moves: readonly Move[]): void {
    const old = this.of(layer)
    const fresh = this.allocateLayer(layer, cells)
    try {
      for (const { from, to, count } of moves) this.write(fresh, this.read(old, from, count), from, to, count)
    } catch (error) {
      disposeCells(fresh)
      throw error
    }
    this.layers[layer] = fresh
    disposeCells(old)
  }

  /** Undoes the moves of the layers below one. */
  private moveBack(end: number, moves: readonly Move[], cause: unknown): void {
    const back = moves.map(({ from, to, count }): Move => ({ from: to, to: from, count }))
    try {
      for (let layer = 0; layer < end; layer++) this.relay(layer, this.cells, back)
    } catch {
      this.broken = new Error('out of memory: the cache could not grow, and the model must be loaded anew', { cause })
      throw this.broken
    }
  }

  /** A copy of what a slot's first `count` cells hold; the values in the slot's own order. */
  private read({ width, keys, values }: LayerCells, slot: Slot, count: number): SlotCells {
    const start = slot.base * width
    const cells = slot.transposed && count > 0 ? slot.capacity : count
    return {
      keys: this.wordsOf(keys).slice(start, start + count * width),
      values: this.wordsOf(values).slice(start, start + cells * width),
    }
  }

  /** Writes what was read from a slot into another, in that one's order. */
  private write({ width, keys, values }: LayerCells, kept: SlotCells, from: Slot, to: Slot, count: number): void {
    if (count === 0) return
    this.wordsOf(keys).set(kept.keys, to.base * width)
    const target = this.wordsOf(values)
    if (!from.transposed && !to.transposed) {
      target.set(kept.values, to.base * width)
      return
    }
    const source = { ...from, base: 0 }
    for (let i = 0; i < width; i++) {
      if (from.transposed && to.transposed) {
        const first = valueIndex(source, width, 0, i)
        target.set(kept.values.subarray(first, first + count), valueIndex(to, width, 0, i))
        continue
      }
      for (let p = 0; p < count; p++) {
        target[valueIndex(to, width, p, i)] = kept.values[valueIndex(source, width, p, i)] as number
      }
    }
  }

  /** Writes zeros over positions of a slot from one on. */
  private clear(slot: MovableSlot, from = 0): void {
    const count = slot.used - from
    if (count <= 0 || this.broken !== null) return
    for (const { width, keys, values } of this.layers) {
      const start = (slot.base + from) * width
      this.wordsOf(keys).fill(0, start, start + count * width)
      const all = this.wordsOf(values)
      if (!slot.transposed) {
        all.fill(0, start, start + count * width)
        continue
      }
      for (let i = 0; i < width; i++) {
        const first = valueIndex(slot, width, from, i)
        all.fill(0, first, first + count)
      }
    }
  }

  /** What is moved and cleared at once: an element, or two bytes of a block. */
  private wordsOf({ view }: StoredTensor): Uint16Array | Uint32Array {
    const { buffer, byteOffset, byteLength } = view
    return this.type === 'f32'
      ? new Uint32Array(buffer, byteOffset, byteLength / 4)
      : new Uint16Array(buffer, byteOffset, byteLength / 2)
  }

  private allocate(cells: number): void {
    this.layers = this.widths.map((_, layer) => this.allocateLayer(layer, cells))
    this.cells = cells
  }

  private allocateLayer(layer: number, cells: number): LayerCells {
    const width = this.widths[layer] as number
    return making(() => ({
      width: this.type === 'q8_0' ? (width * kvElementBytes(this.type)) / 2 : width,
      keys: new StoredTensor(this.backend, this.type, width, cells),
      values: new StoredTensor(this.backend, this.type, width, cells),
    }))
  }
}
