import fc from 'fast-check'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { Backend } from '../../ggml/backend.js'
import { StoredTensor } from '../../ggml/store.js'
import { KvCache, type Slot, valueIndex } from './kv-cache.js'

const backend = new Backend({ threads: 1 })
afterAll(() => backend.dispose())

/** Layers may have other numbers of KV heads. */
const WIDTHS = [2, 4]
const LAYERS = WIDTHS.length

function bytesOf(tensorView: Uint8Array): Float32Array {
  return new Float32Array(tensorView.buffer, tensorView.byteOffset, tensorView.byteLength / 4)
}

/** A cache, and sequences that write a value of their own into every cell when it is reserved. */
function createHarness(context: number) {
  let moves = 0
  const cache = new KvCache(backend, { widths: WIDTHS, type: 'f32', context, onMove: () => moves++ })
  const sequences = new Map<number, { slot: Slot; length: number }>()
  /** Sequences whose first cells were copied from another one. */
  const copied = new Map<number, { from: number; count: number }>()
  const cell = (given: number, layer: number, position: number) => {
    const copy = copied.get(given)
    const id = copy !== undefined && position < copy.count ? copy.from : given
    return 1 + id * 1e5 + layer * 1e4 + position
  }
  return {
    cache,
    get moves() {
      return moves
    },
    feed(id: number, count: number) {
      const s = sequences.get(id) ?? { slot: cache.open(), length: 0 }
      sequences.set(id, s)
      cache.reserve(s.slot, s.length + count, s.length)
      for (let l = 0; l < LAYERS; l++) {
        const width = WIDTHS[l]!
        const keys = bytesOf(cache.viewOf(l).keys)
        const values = bytesOf(cache.viewOf(l).values)
        for (let p = s.length; p < s.length + count; p++) {
          const at = s.slot.base + p
          keys.fill(cell(id, l, p), at * width, (at + 1) * width)
          for (let e = 0; e < width; e++) values[valueIndex(s.slot, width, p, e)] = cell(id, l, p) + e
        }
      }
      s.length += count
    },
    /** Forgets all but the first cells. */
    forget(id: number, length: number) {
      const s = sequences.get(id)
      if (s === undefined || length >= s.length) return
      cache.truncate(s.slot, length)
      s.length = length
    },
    slot: (id: number) => sequences.get(id)!.slot,
    tellCopied: (from: number, to: number, count: number) => copied.set(to, { from, count }),
    leave(id: number) {
      const s = sequences.get(id)
      if (s) cache.close(s.slot)
      sequences.delete(id)
    },
    check() {
      const taken: [number, number][] = []
      for (const [id, { slot, length }] of sequences) {
        expect(slot.capacity).toBeGreaterThanOrEqual(length)
        taken.push([slot.base, slot.base + slot.capacity])
        for (let l = 0; l < LAYERS; l++) {
          const width = WIDTHS[l]!
          const keys = bytesOf(cache.viewOf(l).keys)
          const values = bytesOf(cache.viewOf(l).values)
          expect((slot.base + slot.capacity) * width).toBeLessThanOrEqual(keys.length)
          const holds = (p: number, e: number, expected: number) =>
            keys[(slot.base + p) * width + e] === expected &&
            values[valueIndex(slot, width, p, e)] === (expected === 0 ? 0 : expected + e)
          for (let p = 0; p < slot.capacity; p++) {
            // What no sequence wrote is zero, whoever used the cell before.
            const expected = p < length ? cell(id, l, p) : 0
            for (let e = 0; e < width; e++) {
              if (!holds(p, e, expected))
                throw new Error(`sequence ${id} lost position ${p} of ${length} in layer ${l}`)
            }
          }
        }
      }
      taken.sort((a, b) => a[0] - b[0])
      for (let i = 1; i < taken.length; i++) expect(taken[i]![0]).toBeGreaterThanOrEqual(taken[i - 1]![1])
    },
  }
}

describe('the KV cache', () => {
  it('keeps the newest cells of one sequence when another one makes the cache grow', () => {
    const h = createHarness(1024)
    h.feed(1, 10)
    h.feed(1, 1)
    h.feed(2, 300)
    expect(h.moves).toBe(1)
    h.check()
    h.cache.dispose()
  })

  it('keeps every cell of every sequence through growth, moves, joins, truncation and leaves', () => {
    const action = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({ id: fc.nat(4), count: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 400 })) }),
      },
      { weight: 1, arbitrary: fc.record({ id: fc.nat(4), count: fc.constant(0) }) },
      { weight: 2, arbitrary: fc.record({ id: fc.nat(4), forget: fc.nat(500) }) },
      { weight: 1, arbitrary: fc.constant('shrink' as const) },
    )
    fc.assert(
      fc.property(fc.array(action, { maxLength: 14 }), (actions) => {
        const h = createHarness(10_000)
        try {
          for (const action of actions) {
            if (action === 'shrink') h.cache.shrink()
            else if ('forget' in action) h.forget(action.id, action.forget)
            else if (action.count === 0) h.leave(action.id)
            else h.feed(action.id, action.count)
            h.check()
          }
        } finally {
          h.cache.dispose()
        }
      }),
      { seed: 3, numRuns: 40 },
    )
  })

  it('copies cells between slots of one order and of two, and nothing beside them', () => {
    for (const [from, to] of [
      [40, 40],
      [200, 400],
      [400, 200],
      [300, 300],
      [600, 300],
    ] as const) {
      const h = createHarness(1024)
      h.feed(1, from)
      h.feed(2, to)
      h.feed(3, 30)
      const [a, b] = [h.slot(1), h.slot(2)]
      const count = Math.min(from, to) - 7
      for (let l = 0; l < LAYERS; l++) h.cache.copy(l, a, b, count)
      h.tellCopied(1, 2, count)
      h.check()
      expect(() => h.cache.copy(0, a, b, 10_000)).toThrow(RangeError)
      h.cache.dispose()
    }
  })

  it('uses the cells of a sequence that left', () => {
    const h = createHarness(1024)
    for (let id = 0; id < 20; id++) {
      h.feed(id, 200)
      h.leave(id)
    }
    expect(h.moves).toBe(0)
    expect(h.cache.bytes).toBe(2 * 256 * (2 + 4) * 4)
    h.cache.dispose()
  })

  it('gives back what those who left do not need', () => {
    const h = createHarness(10_000)
    h.feed(0, 5000)
    h.feed(1, 100)
    h.leave(0)
    const before = h.cache.bytes
    h.cache.shrink()
    h.check()
    expect(h.cache.bytes).toBe(2 * 256 * (2 + 4) * 4)
    expect(before).toBe(64 * h.cache.bytes)
    h.cache.dispose()
  })

  it('refuses more than the context and layers that it lacks', () => {
    const h = createHarness(300)
    h.feed(0, 300)
    expect(() => h.feed(0, 1)).toThrow(RangeError)
    expect(() => h.cache.keys(2)).toThrow(RangeError)
    h.cache.dispose()
  })

  /** Lets reads and writes of tensors fail where the count of them says so. */
  function failing(fails: (count: number) => boolean): { mockRestore(): void } {
    const real = Object.getOwnPropertyDescriptor(StoredTensor.prototype, 'view')
    let count = 0
    return vi.spyOn(StoredTensor.prototype, 'view', 'get').mockImplementation(function (this: StoredTensor) {
      if (fails(++count)) throw new Error('no memory')
      return real?.get?.call(this) as Uint8Array
    })
  }

  it('goes back to where it was where memory ends while slots move', () => {
    const h = createHarness(1024)
    h.feed(0, 10)
    h.feed(0, 3)
    // The second layer fails: the first one has moved by then.
    const broken = failing((count) => count === 8)
    try {
      expect(() => h.feed(1, 10)).toThrow(/^out of memory: the cache could not grow$/)
    } finally {
      broken.mockRestore()
    }
    h.leave(1)
    h.check()
    h.feed(0, 5)
    h.feed(2, 300)
    h.check()
    h.cache.dispose()
  })

  it('is of no more use where memory ends on the way back too', () => {
    const h = createHarness(1024)
    h.feed(0, 10)
    const broken = failing((count) => count > 7)
    try {
      expect(() => h.feed(1, 10)).toThrow(/^out of memory/)
    } finally {
      broken.mockRestore()
    }
    expect(() => h.feed(0, 1)).toThrow(/loaded anew/)
    expect(() => h.cache.keys(0)).toThrow(/loaded anew/)
    h.cache.dispose()
  })
})
