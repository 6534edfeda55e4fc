import type { Backend } from '../../ggml/backend.js'
import { StoredTensor } from '../../ggml/store.js'
import type { Tensor } from '../../ggml/tensor.js'

/** Index of a hidden row; row 0 takes what nobody reads. */
export type RowIndex = number
export const UNREAD_ROW: RowIndex = 0

/** Rows that there are at first. */
const FIRST_ROWS = 64

/**
 * Hidden rows between layers: one tensor [hidden, rows] float32. A position of a sequence holds one row from its
 * embedding until its last layer; the row is overwritten as the position rises, and waits where it stopped.
 */
export class HiddenRows {
  private readonly backend: Backend
  private readonly hidden: number
  private readonly onMove: () => void
  private store: StoredTensor
  private values: Float32Array
  private capacity: number
  private readonly free: RowIndex[] = []

  /** @param onMove called before the tensor is replaced: graphs that name it must go */
  constructor(backend: Backend, hidden: number, onMove: () => void) {
    this.backend = backend
    this.hidden = hidden
    this.onMove = onMove
    this.capacity = FIRST_ROWS
    this.store = new StoredTensor(backend, 'f32', hidden, this.capacity)
    this.values = floats(this.store)
    for (let i = this.capacity - 1; i > UNREAD_ROW; i--) this.free.push(i)
  }

  get tensor(): Tensor {
    return this.store.tensor
  }

  /** Rows in use. */
  get used(): number {
    return this.capacity - 1 - this.free.length
  }

  take(): RowIndex {
    if (this.free.length === 0) this.grow()
    return this.free.pop() as RowIndex
  }

  release(row: RowIndex): void {
    this.free.push(row)
  }

  /** A copy of one row: [hidden]. */
  read(row: RowIndex): Float32Array {
    return this.values.slice(row * this.hidden, (row + 1) * this.hidden)
  }

  /** @param values [hidden] */
  write(row: RowIndex, values: Float32Array): void {
    this.values.set(values, row * this.hidden)
  }

  /** Writes what one row holds into another. */
  copy(from: RowIndex, to: RowIndex): void {
    this.values.copyWithin(to * this.hidden, from * this.hidden, (from + 1) * this.hidden)
  }

  /** Gives back what a long prompt took, where no row is in use. */
  shrink(): void {
    if (this.used > 0 || this.capacity === FIRST_ROWS) return
    const smaller = new StoredTensor(this.backend, 'f32', this.hidden, FIRST_ROWS)
    this.onMove()
    this.store.dispose()
    this.store = smaller
    this.values = floats(smaller)
    this.capacity = FIRST_ROWS
    this.free.length = 0
    for (let i = FIRST_ROWS - 1; i > UNREAD_ROW; i--) this.free.push(i)
  }

  dispose(): void {
    this.store.dispose()
  }

  private grow(): void {
    this.onMove()
    const larger = new StoredTensor(this.backend, 'f32', this.hidden, this.capacity * 2)
    larger.view.set(this.store.view)
    this.store.dispose()
    this.store = larger
    this.values = floats(larger)
    for (let i = this.capacity * 2 - 1; i >= this.capacity; i--) this.free.push(i)
    this.capacity *= 2
  }
}

function floats(store: StoredTensor): Float32Array {
  const { buffer, byteOffset, byteLength } = store.view
  return new Float32Array(buffer, byteOffset, byteLength / 4)
}
