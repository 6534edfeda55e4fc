import { describe, expect, it } from 'vitest'
import { tracesOf } from '../../../test/traces-of.js'
import type { Question } from '../../tasks/index.js'
import type { ModelSize } from '../cost.js'
import { type Asking, ruleCells } from './adainfer.js'
import { tableNotes, tableRows } from './page.js'

const LAYERS = 4
const SIZE: ModelSize = {
  layers: LAYERS,
  hidden: 8,
  vocabulary: 32,
  layer: Array.from({ length: LAYERS }, () => ({
    parameters: 1000,
    activeParameters: 1000,
    matrixParameters: 1000,
    queryWidth: 8,
    kvWidth: 16,
    window: Number.POSITIVE_INFINITY,
  })),
  otherParameters: 256,
}
const ABOUT = { model: 'm', quantization: 'f32', layers: LAYERS, set: 'sst2', group: 'text classification', shots: 5 }

/** Easy ones are settled after layer 0, hard ones change at the last layer. */
const EASY = { gap: [0.9, 0.95, 0.95, 0.95], agree: [1, 1, 1, 1], correct: [1, 1, 1, 1] }
const HARD = { gap: [0.1, 0.2, 0.2, 0.7], agree: [0, 0, 0, 1], correct: [0, 0, 0, 1] }
/** Sure of itself, and wrong. */
const FALSE = { gap: [0.1, 0.85, 0.3, 0.4], agree: [0, 0, 1, 1], correct: [0, 0, 1, 1] }

function asking(parts: Asking['parts'], traces: Asking['traces']): Asking {
  const prompt = { text: '', ids: [1, 2, 3], shots: 4, golds: [[1]], candidates: null }
  return { parts, skipped: 2, traces, questions: parts.map((_, index): Question => ({ index, prompt })) }
}

/** Best tokens that agree as the traces say. */
function withTokens(...args: Parameters<typeof tracesOf>): ReturnType<typeof tracesOf> {
  const traces = tracesOf(...args)
  const instances = traces.instances.map((instance) => ({
    ...instance,
    top1: Array.from(instance.agree, (agrees) => (agrees === 1 ? 7 : 9)),
    features: { ...instance.features, cos_hidden: instance.features.gap! },
  }))
  return { ...traces, instances }
}

describe('ruleCells', () => {
  const parts = [...Array.from({ length: 12 }, () => 'train' as const), 'test', 'test', 'test'] as const
  const traces = withTokens(LAYERS, [...Array.from({ length: 6 }, () => [EASY, HARD]).flat(), EASY, HARD, FALSE])
  const cells = ruleCells(ABOUT, asking(parts, traces), SIZE, 0)
  const of = (rule: string) => cells.find((cell) => cell.rule === rule)!

  it('reads every exit off the traces of the test part alone', () => {
    expect(of('full').result).toMatchObject({
      prompts: 3,
      accuracy: { mean: 1 },
      depthMean: { mean: 4 },
      flopsRatio: 1,
    })
    // Depths 1, 4 and 2; the last answer is neither right nor full depth's.
    const gap = of('gap:0.8').result!
    expect(gap.depthMean.mean).toBeCloseTo(7 / 3, 12)
    expect(gap.accuracy.mean).toBeCloseTo(2 / 3, 12)
    expect(gap.accuracyDifference.mean).toBeCloseTo(-1 / 3, 12)
    expect(gap.agreement.mean).toBeCloseTo(2 / 3, 12)
    expect(gap.flopsRatioWithChecks).toBeGreaterThan(gap.flopsRatio)
    expect(gap).toMatchObject({ answerMs: null, skipped: 2, shotsUsed: 4 })
  })

  it('fits and chooses on the other part', () => {
    for (const rule of ['adainfer-svm', 'adainfer-crf']) {
      expect(of(rule)).toMatchObject({ trained: 12 })
      expect(of(rule).note).toMatch(/^on other questions, median and 90% of 20 random splits: mean depth /)
      expect(of(rule).threshold).not.toBeNull()
      expect(of(rule).result!.depthMean.mean).toBeLessThan(4)
    }
  })

  it('says why a cell is empty', () => {
    const same = withTokens(
      LAYERS,
      Array.from({ length: 15 }, () => EASY),
    )
    const fitted = ruleCells(ABOUT, asking(parts, same), SIZE, 0)
    expect(fitted.map(({ result }) => result === null)).toEqual([
      false,
      false,
      true,
      expect.any(Boolean),
      expect.any(Boolean),
      expect.any(Boolean),
    ])
    expect(fitted[2]!.note).toMatch(/every sample has label 1/)
    const few = ruleCells(ABOUT, asking(['test', 'test'], withTokens(LAYERS, [EASY, HARD])), SIZE, 0)
    expect(few.every(({ result, note }) => result === null && /2 questions are too few/.test(note!))).toBe(true)
    expect(ruleCells(ABOUT, asking([], null), SIZE, 0)[0]!.note).toMatch(/no question fits/)
  })

  it('is printed in per cent and points, with what is published under the task', () => {
    const rows = tableRows(cells)
    expect(rows[0]!.slice(0, 6)).toEqual(['sst2', '5 (4.0)', 'm', 'full', '3', '100.0 [100.0, 100.0] (n 3)'])
    expect(rows[1]![6]).toMatch(/^-33\.3 \[/)
    const published = rows.slice(6)
    expect(published).toHaveLength(4)
    expect(published[0]).toEqual(['sst2', '', 'Llama-2-7B (published)', 'full', '', '', '', '', '', '', '', ''])
    expect(published[3]!.join('|')).toBe('sst2||Llama-2-13B (published)|adainfer|||-3.25|||0.57||reported by FlexEE')
    expect(tableNotes({ cells, missing: ['x is left out'] }).join('\n')).toMatch(
      /2 questions do not fit.*\n.*as few as 12/,
    )
  })
})
