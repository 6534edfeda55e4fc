/** Places in a text that the queue can hold. */
export const PLACES = 2 ** 30

/** Proposed merges: those of the lowest rank come first, and of equal ones the leftmost. Ranks are below 2^22. */
export class MergeQueue {
  /** A binary heap of rank × 2^30 + place. */
  readonly #heap: number[] = []
  readonly #top = { rank: 0, place: 0 }

  get size(): number {
    return this.#heap.length
  }

  push(rank: number, place: number): void {
    const heap = this.#heap
    const key = rank * PLACES + place
    let at = heap.length
    heap.push(key)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (heap[parent]! <= key) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = key
  }

  /** The same object each time. The queue must not be empty. */
  pop(): { readonly rank: number; readonly place: number } {
    const heap = this.#heap
    const first = heap[0]!
    const last = heap.pop()!
    const size = heap.length
    let at = 0
    while (size > 0) {
      let child = 2 * at + 1
      if (child >= size) break
      if (child + 1 < size && heap[child + 1]! < heap[child]!) child++
      if (heap[child]! >= last) break
      heap[at] = heap[child]!
      at = child
    }
    if (size > 0) heap[at] = last
    this.#top.rank = Math.floor(first / PLACES)
    this.#top.place = first % PLACES
    return this.#top
  }
}
