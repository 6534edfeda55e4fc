import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { gapPolicy, tracesOf } from '../../test/traces-of.js'
import { applyPolicy } from './apply.js'
import { calibrateThreshold, sweepThresholds } from './threshold.js'

const layers = 5
const instance = fc.record({
  // Few different values, so that ties happen.
  gap: fc.array(
    fc.integer({ min: 0, max: 6 }).map((v) => v / 8),
    { minLength: layers, maxLength: layers },
  ),
  agree: fc
    .array(fc.integer({ min: 0, max: 1 }), { minLength: layers - 1, maxLength: layers - 1 })
    .map((a) => [...a, 1]),
  correct: fc.array(fc.integer({ min: 0, max: 1 }), { minLength: layers, maxLength: layers }),
})
const instances = fc.array(instance, { minLength: 1, maxLength: 12 })

describe('a sweep over thresholds', () => {
  it('has what the policy does at each of them', () => {
    fc.assert(
      fc.property(instances, fc.constantFrom([0, 1, 2, 3], [1, 3], [2]), (list, checked) => {
        const traces = tracesOf(layers, list)
        for (const point of sweepThresholds(gapPolicy(layers, checked), traces)) {
          const exits = applyPolicy({ ...gapPolicy(layers, checked), threshold: point.threshold }, traces).map(
            ({ exit }) => exit,
          )
          const mean = (of: (i: number) => number): number => exits.reduce((sum, _, i) => sum + of(i), 0) / exits.length
          expect(point.meanLayers).toBeCloseTo(
            mean((i) => exits[i]! + 1),
            12,
          )
          expect(point.agreement).toBeCloseTo(
            mean((i) => list[i]!.agree[exits[i]!]!),
            12,
          )
          expect(point.accuracy).toBeCloseTo(
            mean((i) => list[i]!.correct[exits[i]!]!),
            12,
          )
          expect(point.losses).toBeCloseTo(
            mean((i) => Number(list[i]!.correct[layers - 1] === 1 && list[i]!.correct[exits[i]!] === 0)),
            12,
          )
        }
      }),
    )
  })

  it('misses no outcome that any threshold has', () => {
    fc.assert(
      fc.property(instances, fc.integer({ min: -1, max: 14 }), (list, sixteenths) => {
        const traces = tracesOf(layers, list)
        const policy = gapPolicy(layers, [0, 1, 2, 3])
        const exits = applyPolicy({ ...policy, threshold: sixteenths / 16 }, traces)
        const depth = exits.reduce((sum, { exit }) => sum + exit + 1, 0) / exits.length
        expect(sweepThresholds(policy, traces).some(({ meanLayers }) => Math.abs(meanLayers - depth) < 1e-12)).toBe(
          true,
        )
      }),
    )
  })

  it('goes from full depth to the first check', () => {
    const points = sweepThresholds(gapPolicy(3, [0, 1]), tracesOf(3, [{ gap: [0.5, 0.9, 1], agree: [0, 1, 1] }]))
    expect(points.map(({ meanLayers, agreement }) => [meanLayers, agreement])).toEqual([
      [3, 1],
      [2, 1],
      [1, 0],
    ])
    expect(points.map(({ threshold }) => threshold)).toEqual([null, 0.7, expect.closeTo(0.5, 5)])
    expect(points[2]!.threshold).toBeLessThan(0.5)
  })
})

describe('a target', () => {
  const traces = tracesOf(4, [
    { gap: [0.1, 0.6, 0.9, 1], agree: [0, 1, 1, 1], correct: [0, 1, 1, 1] },
    { gap: [0.2, 0.3, 0.8, 1], agree: [0, 0, 1, 1], correct: [0, 0, 0, 0] },
    { gap: [0.5, 0.7, 0.9, 1], agree: [1, 1, 1, 1], correct: [1, 1, 1, 1] },
    { gap: [0.4, 0.5, 0.6, 1], agree: [0, 0, 0, 1], correct: [1, 0, 0, 0] },
  ])
  const policy = gapPolicy(4, [0, 1, 2])

  it('agreement: the fewest layers that keep it', () => {
    const { threshold, calibration } = calibrateThreshold(policy, traces, { kind: 'agreement', value: 0.75 })
    expect(calibration).toMatchObject({
      agreement: 0.75,
      reached: true,
      instances: 4,
      accuracy: 0.75,
      full_accuracy: 0.5,
    })
    // Every policy with fewer layers agrees less.
    const better = sweepThresholds(policy, traces).filter(({ meanLayers }) => meanLayers < calibration!.mean_layers)
    expect(better.every(({ agreement }) => agreement < 0.75)).toBe(true)
    expect(threshold).toBeGreaterThan(0.3)
  })

  it('accuracy-loss counts what is lost, and does not set luck against it', () => {
    // At the first check one answer of full depth is lost and another, which full depth has wrong, is right by luck.
    const lucky = tracesOf(2, [
      { gap: [0.9, 1], agree: [0, 1], correct: [0, 1] },
      { gap: [0.9, 1], agree: [0, 1], correct: [1, 0] },
      { gap: [0.1, 1], agree: [0, 1], correct: [0, 1] },
      { gap: [0.1, 1], agree: [0, 1], correct: [0, 1] },
    ])
    const points = sweepThresholds(gapPolicy(2, [0]), lucky)
    expect(points.map(({ accuracy, losses }) => [accuracy, losses])).toEqual([
      [0.75, 0],
      [0.75, 0.25],
      [0.25, 0.75],
    ])
    const strict = calibrateThreshold(gapPolicy(2, [0]), lucky, { kind: 'accuracy-loss', value: 0.01 })
    expect(strict).toMatchObject({ threshold: null, calibration: { reached: false, losses: 0 } })
    const loose = calibrateThreshold(gapPolicy(2, [0]), lucky, { kind: 'accuracy-loss', value: 0.25 })
    expect(loose.calibration).toMatchObject({ mean_layers: 1.5, losses: 0.25, accuracy: 0.75 })
  })

  it('accuracy-loss is refused where full depth is never right: every exit would lose nothing', () => {
    const never = tracesOf(3, [
      { gap: [0.9, 1, 1], agree: [0, 0, 1], correct: [0, 0, 0] },
      { gap: [0.9, 1, 1], agree: [0, 0, 1], correct: [1, 0, 0] },
    ])
    const calibrate = (kind: 'accuracy-loss' | 'agreement', value: number) =>
      calibrateThreshold(gapPolicy(3, [0, 1]), never, { kind, value })
    expect(() => calibrate('accuracy-loss', 0.01)).toThrow(/none of these questions right.*--target agreement=0.98/)
    expect(calibrate('agreement', 0.98).threshold).toBeNull()
  })

  it('accuracy-loss: against full depth, not against the gold answer', () => {
    const { calibration } = calibrateThreshold(policy, traces, { kind: 'accuracy-loss', value: 0 })
    expect(calibration!.accuracy).toBeGreaterThanOrEqual(calibration!.full_accuracy!)
    expect(calibration!.mean_layers).toBeLessThan(3)
    const blind = tracesOf(3, [{ gap: [0, 0, 0], agree: [0, 0, 1] }])
    expect(() => calibrateThreshold(gapPolicy(3, [0]), blind, { kind: 'accuracy-loss', value: 0.01 })).toThrow(
      /needs traces with the gold answer/,
    )
  })

  it('mean-layers: the most layers that are not more', () => {
    expect(calibrateThreshold(policy, traces, { kind: 'mean-layers', value: 3 }).calibration!.mean_layers).toBe(3)
    expect(calibrateThreshold(policy, traces, { kind: 'mean-layers', value: 16 }).threshold).toBeNull()
    expect(() => calibrateThreshold(policy, traces, { kind: 'mean-layers', value: 0.5 })).toThrow(
      /1\.00 layers at least/,
    )
  })

  it('that no threshold meets leaves full depth, and says so', () => {
    const hard = tracesOf(3, [{ gap: [1, 1, 1], agree: [0, 0, 1] }])
    expect(calibrateThreshold(gapPolicy(3, [0, 1]), hard, { kind: 'agreement', value: 0.9 })).toMatchObject({
      threshold: null,
      calibration: { reached: false, mean_layers: 3, agreement: 1 },
    })
  })
})
