import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MOST_COUNTED, NgramIndex, type NgramMatch } from './ngram-index.js'

function indexOf(text: readonly number[], options?: { longest: number; shortest: number }): NgramIndex {
  const index = new NgramIndex(options)
  for (const id of text) index.push(id)
  return index
}

/** By looking through the whole text. */
function naiveMatch(text: readonly number[], longest: number, shortest: number): NgramMatch | null {
  const same = (next: number, length: number): boolean =>
    length <= next && text.slice(next - length, next).join() === text.slice(text.length - length).join()
  for (let n = longest; n >= shortest; n--) {
    for (let next = text.length - 1; next >= n; next--) {
      if (!same(next, n)) continue
      let length = n
      while (length < MOST_COUNTED && same(next, length + 1)) length++
      return { next, length }
    }
  }
  return null
}

/** Few different ids, so that much repeats, and pieces that come again. */
const TEXT = fc
  .tuple(
    fc.array(fc.array(fc.nat(4), { maxLength: 40 }), { minLength: 1, maxLength: 3 }),
    fc.array(fc.nat(2), { maxLength: 6 }),
  )
  .map(([pieces, order]) => order.flatMap((i) => pieces[i % pieces.length]!))

describe('the index of n-grams', () => {
  it('finds after every token what a search through the whole text finds', () => {
    fc.assert(
      fc.property(TEXT, fc.integer({ min: 1, max: 3 }), fc.nat(3), (text, shortest, more) => {
        const longest = shortest + more
        const index = new NgramIndex({ longest, shortest })
        text.forEach((id, i) => {
          index.push(id)
          expect(index.match()).toEqual(naiveMatch(text.slice(0, i + 1), longest, shortest))
        })
      }),
    )
  })

  it('goes on with what followed, and with itself where the text ends there', () => {
    const index = indexOf([7, 1, 2, 3, 9, 1, 2])
    expect(index.match()).toEqual({ next: 3, length: 2 })
    expect(index.continuation({ next: 3, length: 2 }, 6)).toEqual([3, 9, 1, 2, 3, 9])
  })

  it('prefers the longer n-gram to the newer one, and of equals the newest', () => {
    const longer = [1, 2, 3, 4, 8, 5, 3, 4, 9, 1, 2, 3, 4]
    expect(indexOf(longer).match()).toEqual({ next: 4, length: 4 })
    expect(indexOf([3, 4, 8, 3, 4, 9, 3, 4]).match()).toEqual({ next: 5, length: 2 })
  })

  it('finds nothing in what a single token or nothing repeats', () => {
    expect(indexOf([]).match()).toBeNull()
    expect(indexOf([5, 6, 5]).match()).toBeNull()
  })

  it('takes the largest ids apart', () => {
    const index = indexOf([0, 262_143, 1, 0, 262_143], { longest: 4, shortest: 2 })
    expect(index.match()).toEqual({ next: 2, length: 2 })
  })
})
