import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { straightCosts as straight } from '../../test/straight-costs.js'
import { SpecError } from '../errors.js'
import { type BridgeSet, planGaps } from './bridge.js'
import { type StepCosts, stepMs } from './measurement.js'
import { allLayers, gapsOf } from './plan.js'
import type { SkipPolicy } from './policy.js'
import { measurementsOf, parseDepth } from './spec.js'
import { balancedPlan, keptLayers, layersInTime, referencePlan, speedupOf } from './unified.js'

const targets = fc.oneof(
  fc.double({ min: 1, max: 120, noNaN: true }),
  fc.constantFrom(1, 1.1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 10),
)
const layerCounts = fc.integer({ min: 1, max: 100 })

describe('balanced', () => {
  it('keeps first and last, and no two gaps differ by more than one layer', () => {
    fc.assert(
      fc.property(layerCounts, targets, (layers, target) => {
        const n = keptLayers(layers, target)
        const plan = balancedPlan(layers, n)
        expect(plan).toHaveLength(n)
        expect(plan[0]).toBe(0)
        expect(plan.at(-1)).toBe(layers - 1)
        const gaps = gapsOf(plan)
        expect(gaps.every((gap) => gap >= 1)).toBe(true)
        if (gaps.length > 0) expect(Math.max(...gaps) - Math.min(...gaps)).toBeLessThanOrEqual(1)
      }),
      { numRuns: 2000 },
    )
  })

  it('holds for every whole number of kept layers of 1 to 100 layers', () => {
    for (let layers = 1; layers <= 100; layers++) {
      for (let n = 1; n <= layers; n++) {
        expect(keptLayers(layers, layers / n)).toBe(Math.min(layers, Math.max(2, n)))
        const plan = balancedPlan(layers, n)
        expect(plan).toHaveLength(n)
        const gaps = gapsOf(plan)
        if (gaps.length > 0) expect(Math.max(...gaps) - Math.min(...gaps)).toBeLessThanOrEqual(1)
      }
    }
  })

  it('keeps floor(L / s + 1e-9) layers, at least 2, all of them at 1x', () => {
    expect(keptLayers(33, 1.1)).toBe(30)
    expect(keptLayers(16, 2)).toBe(8)
    expect(keptLayers(22, 1.5)).toBe(14)
    expect(keptLayers(16, 100)).toBe(2)
    expect(keptLayers(2, 5)).toBe(2)
    expect(keptLayers(1, 5)).toBe(1)
    for (const layers of [1, 2, 5, 16, 22, 32]) expect(keptLayers(layers, 1)).toBe(layers)
  })

  it('spaces 16 layers evenly', () => {
    expect(balancedPlan(16, 8)).toEqual([0, 2, 4, 6, 9, 11, 13, 15])
    expect(balancedPlan(16, 4)).toEqual([0, 5, 10, 15])
    expect(balancedPlan(16, 2)).toEqual([0, 15])
  })
})

describe('reference', () => {
  const upTo = (last: number, step: number) => Array.from({ length: last / step + 1 }, (_, i) => i * step)

  it.each([
    [30, 2, [...upTo(26, 2), 29]],
    [30, 3, [...upTo(24, 3), 29]],
    [30, 5, [0, 6, 12, 18, 24, 29]],
    [30, 10, [0, 15, 29]],
    [32, 3, [...upTo(24, 3), 31]],
    [24, 5, [0, 8, 16, 23]],
  ])('keeps of %i layers at %ix what the published code keeps', (layers, target, plan) => {
    expect(referencePlan(layers, Math.trunc(layers / target))).toEqual(plan)
  })

  it('between 1x and 2x keeps the bottom n - 1 layers and the last', () => {
    expect(referencePlan(16, 10)).toEqual([...upTo(8, 1), 15])
    expect(referencePlan(30, 24)).toEqual([...upTo(22, 1), 29])
    fc.assert(
      fc.property(fc.integer({ min: 4, max: 100 }), fc.double({ min: 1, max: 1.99, noNaN: true }), (layers, target) => {
        const n = Math.trunc(layers / target)
        fc.pre(Math.trunc(layers / (n - 1)) === 1)
        expect(referencePlan(layers, n)).toEqual([...upTo(n - 2, 1), layers - 1])
      }),
    )
  })

  it.each([
    [12, 8],
    [16, 10],
    [30, 16],
    [1, 1],
  ])('has no plan for %i layers at %ix, where n <= 1', (layers, target) => {
    expect(referencePlan(layers, Math.trunc(layers / target))).toBeNull()
    expect(() => parseDepth(`unified:${target}x,rule=reference`, { layers })).toThrow(/needs 2; use rule=balanced/)
  })

  it('keeps int(L / s) layers, the first and the last among them', () => {
    fc.assert(
      fc.property(layerCounts, targets, (layers, target) => {
        const n = Math.trunc(layers / target)
        const plan = referencePlan(layers, n)
        if (n <= 1) expect(plan).toBeNull()
        else {
          expect(plan).toHaveLength(n)
          expect(plan?.[0]).toBe(0)
          expect(plan?.at(-1)).toBe(layers - 1)
          expect(gapsOf(plan!).every((gap) => gap >= 1)).toBe(true)
        }
      }),
      { numRuns: 1000 },
    )
  })

  it('notes the hole that it leaves', () => {
    const notes = (layers: number, target: number) => parseDepth(`unified:${target}x,rule=reference`, { layers }).notes
    expect(notes(32, 3)).toEqual([
      'rule=reference leaves out layers 25 to 30 in one piece; rule=balanced spaces the layers evenly',
    ])
    expect(notes(16, 1.5)?.[0]).toContain('layers 9 to 14')
    expect(notes(30, 2)).toEqual([])
    expect(notes(30, 1)).toEqual([])
    expect(parseDepth('unified:3x', { layers: 32 }).notes).toEqual([])
  })
})

/** Any times that never fall as layers are added. */
const anyCosts = fc
  .tuple(
    fc.integer({ min: 3, max: 48 }),
    fc.array(fc.double({ min: 0, max: 3, noNaN: true }), { minLength: 1, maxLength: 7 }),
  )
  .map(([layers, rises]): StepCosts => {
    const sizes = balancedPlan(layers - 1, Math.min(rises.length + 1, layers - 1)).map((n) => n + 2)
    const plans = sizes.map((n, i) => ({ layers: n, ms: rises.slice(0, i).reduce((ms, rise) => ms + rise, 0.1) }))
    const last = { layers, ms: plans.at(-1)!.ms }
    return { ...straight(layers, 1, 1), fullMs: last.ms, plans: [...plans.filter((p) => p.layers < layers), last] }
  })

describe('by time', () => {
  const byTime = (spec: string, costs: StepCosts) =>
    parseDepth(spec, { layers: costs.layers, costs: (batch) => ({ ...costs, batch }) }) as SkipPolicy

  it('keeps the most layers that meet the target: with one more it is missed', () => {
    fc.assert(
      fc.property(anyCosts, fc.double({ min: 1, max: 8, noNaN: true }), (costs, target) => {
        const n = layersInTime(costs, target)
        const meets = (count: number) => speedupOf(costs, count) >= target - 1e-9
        if (n === null) expect(meets(2)).toBe(false)
        else {
          expect(meets(n)).toBe(true)
          if (n < costs.layers) expect(meets(n + 1)).toBe(false)
          expect(n).toBeGreaterThanOrEqual(2)
        }
      }),
      { numRuns: 2000 },
    )
  })

  it('overshoots where layers are few: 5x of 22', () => {
    const policy = byTime('unified:5x', straight(22, 1, 0.4))
    expect(policy.everyToken).toHaveLength(4)
    // 22.4 / 4.4, and 22.4 / 5.4 with one more.
    expect(policy.speedup).toEqual({ target: 5, predicted: 22.4 / 4.4, batch: 1, fullMs: 22.4 })
  })

  it('keeps fewer layers than by count where there is much that every step pays for', () => {
    expect(byTime('unified:2x', straight(16, 1, 0)).everyToken).toEqual(balancedPlan(16, 8))
    expect(byTime('unified:2x', straight(16, 1, 4)).everyToken).toEqual(balancedPlan(16, 6))
    expect(byTime('unified:1x', straight(16, 1, 4)).everyToken).toEqual(allLayers(16))
    expect(byTime('unified:3x,rule=reference', straight(30, 1, 0)).everyToken).toEqual(referencePlan(30, 10))
    expect(byTime('unified:2x,by=layers', straight(16, 1, 4)).everyToken).toEqual(balancedPlan(16, 8))
    expect(byTime('unified:2x,by=layers', straight(16, 1, 4)).speedup).toBeUndefined()
  })

  it('refuses what two layers miss, and names what can be had', () => {
    // 20 / 6 = 3.333..
    const costs = straight(16, 1, 4)
    expect(() => byTime('unified:4x', costs)).toThrow(
      'depth "unified:4x": 2 of 16 layers are 3.33x as fast as all of them on this machine: the largest target is 3.33x',
    )
    expect(byTime('unified:3.33x', costs).everyToken).toEqual([0, 15])
    expect(() => byTime('unified:4x,batch=8', costs)).toThrow('on this machine at batch 8: the largest target is 3.33x')
    expect(() => byTime('unified:1.1x', straight(2, 1, 0))).toThrow('the largest target is 1x')
    expect(byTime('unified:1x', straight(1, 1, 0)).everyToken).toEqual([0])
  })

  it('asks for the costs of its batch size, and says so in its SPEC', () => {
    const costs = straight(16, 1, 1)
    const policy = byTime('unified:2.0x,batch=8', costs)
    expect(policy.spec).toBe('unified:2x,batch=8')
    expect(policy.speedup?.batch).toBe(8)
    expect(byTime('unified:2x,batch=1,by=time', costs).spec).toBe('unified:2x')
    const needs = (spec: string) => measurementsOf(spec, { layers: 16 })
    expect(needs('unified:2x,batch=8')).toEqual([{ kind: 'costs', batch: 8 }])
    expect(needs('unified:2x')).toEqual([{ kind: 'costs', batch: 1 }])
    expect(needs('unified:2x,by=layers')).toEqual([])
    for (const wrong of ['unified:0.5x', 'unified:2x,batch=0', 'unified:2x,by=luck', 'unified:2x,prompt=half']) {
      expect(() => needs(wrong)).toThrow(SpecError)
    }
  })

  it('counts layers where no model is loaded, and its SPEC then says so', () => {
    expect(parseDepth('unified:2x', { layers: 16 }).spec).toBe('unified:2x,by=layers')
    expect(() => parseDepth('unified:2x,by=time', { layers: 16 })).toThrow(/by=time needs a model that is loaded/)
    expect(() => parseDepth('unified:2x,by=layers,batch=8', { layers: 16 })).toThrow(/batch= is for by=time/)
  })
})

describe('what a step takes', () => {
  it('lies on the line between the measured plans around it', () => {
    const costs = { ...straight(8, 1, 0), plans: [2, 4, 8].map((n) => ({ layers: n, ms: n * n })) }
    expect([1, 2, 3, 4, 6, 8].map((n) => stepMs(costs, n))).toEqual([3, 4, 10, 16, 40, 64])
  })
})

describe('with bridges', () => {
  const LAYERS = 12
  const HIDDEN = 8
  const BRIDGE_MS = 2
  const costs: StepCosts = { ...straight(LAYERS, 4, 1), bridgeMs: BRIDGE_MS }

  /** A file of whole maps over the gaps of a plan. */
  function fileFor(plan: readonly number[]): BridgeSet {
    const factor = { type: 'f32', columns: HIDDEN, rows: HIDDEN, data: new Uint8Array(4 * HIDDEN * HIDDEN) } as const
    const bridges = planGaps(plan, LAYERS).map((gap) => ({
      ...gap,
      on: 'hidden' as const,
      factors: [factor],
      bias: new Float32Array(HIDDEN),
    }))
    return { path: 'b.gguf', source: 'b', layers: LAYERS, hidden: HIDDEN, plan, model: null, modelName: null, bridges }
  }
  const parse = (target: number, plan: readonly number[]): SkipPolicy =>
    parseDepth(`unified:${target}x,bridge=b.gguf`, {
      layers: LAYERS,
      costs: () => costs,
      bridges: () => fileFor(plan),
    }) as SkipPolicy

  it('a target in time leaves fewer layers, so that it is met with their time', () => {
    const target = 1.25
    const gaps = (n: number): number => planGaps(balancedPlan(LAYERS, n), LAYERS).length
    const without = layersInTime(costs, target)!
    const kept = layersInTime(costs, target, gaps)!
    expect(kept).toBeLessThan(without)
    const policy = parse(target, balancedPlan(LAYERS, kept))
    expect(policy.everyToken).toHaveLength(kept)
    expect(policy.bridges).toHaveLength(gaps(kept))
    const ms = stepMs(costs, kept) + gaps(kept) * BRIDGE_MS
    expect(policy.speedup?.predicted).toBeCloseTo(costs.fullMs / ms, 9)
    expect(policy.speedup?.predicted).toBeGreaterThanOrEqual(target)
  })

  it('a file for other layers is refused', () => {
    expect(() => parse(1.25, balancedPlan(LAYERS, 5))).toThrow(/holds bridges for layers .*, and these are layers/)
  })
})
