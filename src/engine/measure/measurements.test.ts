import { describe, expect, it, vi } from 'vitest'
import type { StepCosts } from '../../depth/measurement.js'
import { ShoalError } from '../../errors.js'
import { Measurements, type MeasureWork } from './measurements.js'

const COSTS: StepCosts = {
  batch: 2,
  layers: 4,
  fullMs: 5,
  layerMs: 1,
  headMs: 0.5,
  checkMs: 0.6,
  bridgeMs: 0,
  restMs: 0.5,
  plans: [{ layers: 4, ms: 5 }],
}
const ASKED = { kind: 'costs', batch: 2 } as const

/** Measures that end when the test says so, or when they are stopped. */
function manual() {
  const works: MeasureWork[] = []
  let finish = (_costs: StepCosts): void => undefined
  const measurements = new Measurements({
    costs: (_, work) =>
      new Promise((resolve, reject) => {
        works.push(work)
        finish = resolve
        work.signal.addEventListener('abort', () => reject(new Error('stopped')))
      }),
    bridges: () => Promise.reject(new Error('no file of bridges')),
    firstCheck: async () => 3,
    knownFirstCheck: () => null,
    order: async (rule, data) => (rule === 'sleb' && data === null ? [2, 1] : [1, 2]),
  })
  return { measurements, works, finish: () => finish(COSTS) }
}

describe('measurements', () => {
  it('are made once, whoever asks, and known afterwards', async () => {
    const { measurements, works, finish } = manual()
    const onMeasure = vi.fn()
    const both = [measurements.measure(ASKED, { onMeasure }), measurements.measure(ASKED, {})]
    expect(measurements.has(ASKED)).toBe(false)
    works[0]?.progress({ what: 'this', done: 0.5 })
    finish()
    await Promise.all(both)
    expect(onMeasure.mock.calls).toEqual([[{ what: 'this', done: 0.5 }]])
    expect(measurements.known.costs(2)).toBe(COSTS)
    await measurements.measure(ASKED, {})
    expect(works).toHaveLength(1)
    expect(() => measurements.known.costs(3)).toThrow(/did not name/)
    await measurements.measure({ kind: 'layer-order', rule: 'sleb', data: null }, {})
    expect(measurements.known.order('sleb', null)).toEqual([2, 1])
    expect(measurements.has({ kind: 'layer-order', rule: 'sleb', data: 'x' })).toBe(false)
    expect(measurements.has({ kind: 'first-check' })).toBe(false)
    await measurements.measure({ kind: 'first-check' }, {})
    expect(measurements.known.firstCheck()).toBe(3)
  })

  it('go on while somebody waits, and stop with the last who does', async () => {
    const { measurements, works } = manual()
    const [first, second] = [new AbortController(), new AbortController()]
    const one = measurements.measure(ASKED, { signal: first.signal })
    const two = measurements.measure(ASKED, { signal: second.signal })
    first.abort()
    await expect(one).rejects.toMatchObject({ code: 'aborted' })
    expect(works[0]?.signal.aborted).toBe(false)
    second.abort()
    await expect(two).rejects.toMatchObject({ code: 'aborted' })
    expect(works[0]?.signal.aborted).toBe(true)
    await expect(measurements.measure(ASKED, { signal: second.signal })).rejects.toMatchObject({ code: 'aborted' })
  })

  it('may be asked for again after an end', async () => {
    const { measurements, works, finish } = manual()
    const stop = new AbortController()
    const one = measurements.measure(ASKED, { signal: stop.signal })
    stop.abort()
    await expect(one).rejects.toMatchObject({ code: 'aborted' })
    const again = measurements.measure(ASKED, {})
    expect(works).toHaveLength(2)
    finish()
    await again
    expect(measurements.has(ASKED)).toBe(true)
  })

  it('end with the model', async () => {
    const { measurements } = manual()
    const waiting = measurements.measure(ASKED, {})
    measurements.close(new ShoalError('disposed', 'the model was disposed'))
    await expect(waiting).rejects.toMatchObject({ code: 'disposed' })
    await expect(measurements.measure(ASKED, {})).rejects.toMatchObject({ code: 'disposed' })
  })
})
