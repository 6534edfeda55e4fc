import { describe, expect, it } from 'vitest'
import type { ProcessorTime } from './processors.js'
import { ThreadCount } from './thread-count.js'

/** A machine where this process keeps `own` processors busy and others `others`. */
function machine(most: number, available = most) {
  let at = 1000
  let time: ProcessorTime | null = { busy: 0, own: 0 }
  let reads = 0
  const count = new ThreadCount(
    most,
    available,
    () => {
      reads++
      return time
    },
    () => at,
  )
  return {
    count,
    reads: () => reads,
    /** Computes for so long, if it keeps any processor busy. */
    pass: (ms: number, own: number, others: number): void => {
      at += ms
      if (time !== null) time = { busy: time.busy + ms * (own + others), own: time.own + ms * own }
      if (own > 0) count.took(1, 1)
    },
    blind: (): void => {
      time = null
    },
  }
}

describe('the number of threads', () => {
  it('is all of them where nothing else runs, and stays so through small noise', () => {
    const { count, pass } = machine(2)
    for (let i = 0; i < 50; i++) {
      pass(200, 1.8, i % 3 === 0 ? 0.3 : 0.05)
      expect(count.next()).toBe(2)
    }
  })

  it('leaves others what they keep busy, and takes it back when they have ended', () => {
    const { count, pass } = machine(8)
    pass(200, 6, 2)
    expect(count.next()).toBe(6)
    pass(200, 6, 0.1)
    expect(count.next()).toBe(8)
  })

  it('does not go by what others did while it had nothing to compute', () => {
    const { count, pass } = machine(2)
    pass(3000, 0, 2)
    expect(count.next()).toBe(2)
    pass(200, 1.9, 0.1)
    expect(count.next()).toBe(2)
    pass(200, 1, 1)
    expect(count.next()).toBe(1)
  })

  it('is that of a quota as long as other processors are free', () => {
    const { count, pass } = machine(2, 64)
    pass(200, 1.9, 20)
    expect(count.next()).toBe(2)
    pass(200, 1.9, 63)
    expect(count.next()).toBe(1)
  })

  it('is never less than one', () => {
    const { count, pass } = machine(2)
    pass(200, 0.5, 1.5)
    expect(count.next()).toBe(1)
    pass(200, 0.1, 4)
    expect(count.next()).toBe(1)
  })

  it('is one as long as a busy program shares two processors', () => {
    const { count, pass } = machine(2)
    // Two spinning threads and a third one get two thirds of a processor each.
    pass(200, 1.33, 0.67)
    expect(count.next()).toBe(1)
    for (let i = 0; i < 20; i++) {
      pass(200, 1, 1)
      expect(count.next()).toBe(1)
    }
  })

  it('is looked at when a compute takes far longer than usual, and not before', () => {
    const { count, pass, reads } = machine(2)
    pass(50, 1.3, 0.7)
    expect(count.next()).toBe(2)
    count.took(1.2, 1)
    expect(count.next()).toBe(2)
    expect(reads()).toBe(1)
    count.took(45, 1)
    expect(count.next()).toBe(1)
    expect(reads()).toBe(2)
  })

  it('stays where the system does not tell what it is busy with', () => {
    const { count, pass, blind } = machine(4)
    blind()
    pass(300, 1, 3)
    expect(count.next()).toBe(4)
  })

  it('asks the system nothing where there is one processor', () => {
    const { count, pass, reads } = machine(1)
    pass(1000, 1, 3)
    expect(count.next()).toBe(1)
    expect(reads()).toBe(0)
  })
})
