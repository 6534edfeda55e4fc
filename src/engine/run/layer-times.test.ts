import { describe, expect, it } from 'vitest'
import { LayerTimes } from './layer-times.js'

describe('layer times', () => {
  it('know nothing at first: a stretch is not cut, and it may take for ever', () => {
    const times = new LayerTimes()
    expect(times.most(1)).toBe(Number.POSITIVE_INFINITY)
    expect(times.expect(1, 22)).toBe(Number.POSITIVE_INFINITY)
  })

  it('cut a stretch where that lets it run in place, and leave long layers whole', () => {
    const times = new LayerTimes()
    times.note(1, 22, 22 * 1.3)
    expect(times.most(1)).toBe(6)
    expect(times.expect(1, 6)).toBeCloseTo(7.8)
    times.note(256, 22, 22 * 40)
    expect(times.most(256)).toBe(Number.POSITIVE_INFINITY)
  })

  it('expect at most as much for more rows as fewer rows suggest', () => {
    const times = new LayerTimes()
    times.note(1, 1, 1)
    expect(times.expect(3, 2)).toBe(6)
    times.note(3, 1, 1.5)
    expect(times.expect(3, 2)).toBe(3)
  })

  it('follow what is measured', () => {
    const times = new LayerTimes()
    times.note(1, 1, 1)
    for (let i = 0; i < 50; i++) times.note(1, 1, 2)
    expect(times.expect(1, 1)).toBeCloseTo(2, 3)
  })
})
