import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { crosses, overlap, placeLabels } from './label-placement.js'

const bounds = { x: 0, y: 0, width: 320, height: 240 }

describe('labels', () => {
  const label = fc.record({
    x: fc.integer({ min: 10, max: 310 }),
    y: fc.integer({ min: 10, max: 230 }),
    width: fc.integer({ min: 10, max: 120 }),
    height: fc.constant(12),
  })

  it('cover no other, no mark and no leader, and stay inside', () => {
    fc.assert(
      fc.property(fc.array(label, { maxLength: 14 }), (labels) => {
        const placed = placeLabels(labels, { bounds, radius: 5, lines: [] })
        expect(placed).toHaveLength(labels.length)
        const there = placed.filter((one) => one !== null)
        there.forEach(({ box }, i) => {
          expect(box.x).toBeGreaterThanOrEqual(0)
          expect(box.y).toBeGreaterThanOrEqual(0)
          expect(box.x + box.width).toBeLessThanOrEqual(bounds.width)
          expect(box.y + box.height).toBeLessThanOrEqual(bounds.height)
          for (const { x, y } of labels) {
            expect(overlap({ x: x - 5, y: y - 5, width: 10, height: 10 }, box)).toBe(false)
          }
          there.forEach((other, j) => {
            if (i === j) return
            expect(overlap(other.box, box)).toBe(false)
            expect(other.leader !== null && crosses(other.leader, box)).toBe(false)
          })
        })
        expect(placeLabels(labels, { bounds, radius: 5, lines: [] })).toEqual(placed)
      }),
      { numRuns: 200 },
    )
  })

  it('stand to the right of a mark that is alone, and elsewhere where a line passes', () => {
    const one = [{ x: 100, y: 100, width: 40, height: 12 }]
    const [alone] = placeLabels(one, { bounds, radius: 5, lines: [] })
    expect(alone).toEqual({ box: { x: 107, y: 94, width: 40, height: 12 }, leader: null })
    const line = { x1: 0, y1: 100, x2: 320, y2: 100 }
    const [besides] = placeLabels(one, { bounds, radius: 5, lines: [line] })
    expect(crosses(line, besides!.box)).toBe(false)
  })

  it('of marks at nearly one place are led to where there is room', () => {
    const crowd = Array.from({ length: 5 }, (_, i) => ({ x: 130 + i * 10, y: 120, width: 60, height: 12 }))
    const placed = placeLabels(crowd, { bounds, radius: 5, lines: [] })
    expect(placed.every((one) => one !== null)).toBe(true)
    expect(placed.some((one) => one!.leader !== null)).toBe(true)
  })

  it('are left out where there is no room at all', () => {
    const wide = [{ x: 100, y: 100, width: 400, height: 12 }]
    expect(placeLabels(wide, { bounds, radius: 5, lines: [] })).toEqual([null])
  })
})

it('a segment crosses a box through which it passes, in which it lies or ends', () => {
  const box = { x: 10, y: 10, width: 10, height: 10 }
  expect(crosses({ x1: 0, y1: 15, x2: 30, y2: 15 }, box)).toBe(true)
  expect(crosses({ x1: 12, y1: 12, x2: 13, y2: 13 }, box)).toBe(true)
  expect(crosses({ x1: 0, y1: 0, x2: 15, y2: 15 }, box)).toBe(true)
  expect(crosses({ x1: 0, y1: 5, x2: 30, y2: 5 }, box)).toBe(false)
  expect(crosses({ x1: 0, y1: 15, x2: 15, y2: 0 }, box)).toBe(false)
})
