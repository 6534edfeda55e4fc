import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Model } from '../../engine/api.js'
import { loadModel } from '../../engine/load.js'
import { loadTask, loadText, questionsOf, type TextTask, textWindows } from '../../tasks/index.js'
import { corpusBleu } from '../metrics/bleu.js'
import { corpusChrf } from '../metrics/chrf.js'
import { corpusRouge } from '../metrics/rouge.js'
import type { EvalReport } from '../result.js'
import { agreedShare, GENERATION_METRICS } from './cells.js'
import { evaluateGeneration, type GenerationOptions } from './evaluate.js'
import { openTurnsFile } from './turns-file.js'

let folder: string
let model: Model
let options: GenerationOptions
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-generation-'))
  model = await loadModel('ripple-8m', { thread: false, threads: 1, slots: 3 })
  options = {
    tasks: [await loadTask('choose_first_of_3')],
    texts: [await loadText('prose')],
    shots: [1],
    depths: ['unified:2x,by=layers', 'exit:9'],
    batches: [1, 3],
    metrics: GENERATION_METRICS,
    seed: 0,
    limit: 3,
    maxTokens: 6,
    beams: null,
    noRepeatNgram: 0,
    window: 24,
    promptLength: 8,
  }
})
afterAll(async () => {
  await model.dispose()
  rmSync(folder, { recursive: true, force: true })
})

describe('evaluateGeneration', () => {
  it('gives the scores of the texts that the model generates, whatever the batch', async () => {
    const { generation } = await evaluateGeneration(model, options)
    const [task] = options.tasks
    const { questions } = questionsOf(model, task!, { shots: 1, seed: 0, score: 'generate', limit: 3, maxTokens: 6 })
    const references = questions.map(({ index }) => task!.items[index]!.answers[0])
    const generate = async (depth: string) => {
      const results = []
      for (const { prompt } of questions) {
        results.push(await model.generate(prompt.ids, { depth, maxTokens: 6, stop: '\n' }).result)
      }
      return results
    }
    const full = await generate('full')
    expect(generation!.cells).toHaveLength(2 * 3)
    for (const cell of generation!.cells) {
      const own = await generate(cell.depth)
      const texts = own.map(({ text }) => text.trim())
      const score = (name: string) => cell.quality.find(({ metric }) => metric === name)!.score.mean
      expect(score('bleu')).toBeCloseTo(corpusBleu(texts, references).score, 9)
      expect(score('chrf')).toBeCloseTo(corpusChrf(texts, references), 9)
      expect(score('rouge2')).toBeCloseTo(corpusRouge(texts, references).rouge2.f1, 9)
      const same = own.filter((result, i) => JSON.stringify(result.tokens) === JSON.stringify(full[i]!.tokens))
      expect(cell.identical.mean).toBe(same.length / own.length)
      const tokens = own.reduce((sum, result) => sum + result.tokens.length, 0)
      const layers = own.reduce((sum, result) => sum + result.rowLayers, 0)
      expect(cell.rowLayersPerToken.mean).toBeCloseTo(layers / tokens, 9)
      expect(cell.outputTokens.mean).toBeCloseTo(tokens / own.length, 9)
      expect(cell.allTokensPerSecond.mean).toBeGreaterThan(0)
    }
    for (const cell of generation!.cells.filter(({ depth }) => depth === 'full')) {
      expect(cell).toMatchObject({ identical: { mean: 1, low: 1 }, speedup: { mean: 1 }, allSpeedup: { mean: 1 } })
      expect(cell.quality.every(({ difference }) => difference.mean === 0)).toBe(true)
    }
  })

  it('follows beams where it is asked to, and cuts their text at the stop', async () => {
    const beams = { beams: 2, lengthPenalty: 1 }
    const { generation } = await evaluateGeneration(model, {
      ...options,
      texts: [],
      batches: [2],
      beams,
      noRepeatNgram: 2,
    })
    expect(generation).toMatchObject({ beams: 2, noRepeatNgram: 2 })
    const [task] = options.tasks
    const { questions } = questionsOf(model, task!, { shots: 1, seed: 0, score: 'generate', limit: 3, maxTokens: 6 })
    const texts: string[] = []
    for (const { prompt } of questions) {
      const { text } = await model.beamSearch(prompt.ids, { ...beams, noRepeatNgram: 2, maxTokens: 6, depth: 'full' })
      texts.push(text.trimStart().split('\n', 1)[0]!.trim())
    }
    const references = questions.map(({ index }) => task!.items[index]!.answers[0])
    expect(generation!.cells[0]!.quality[1]!.score.mean).toBeCloseTo(corpusChrf(texts, references), 9)
  })

  it('gives the perplexity that model.score gives', async () => {
    const { generation } = await evaluateGeneration(model, { ...options, tasks: [] })
    const windows = textWindows(model.tokenizer!, options.texts[0]!, { window: 24, promptLength: 8, limit: 3 })
    for (const cell of generation!.texts) {
      let loss = 0
      for (const ids of windows) loss += (await model.score(ids, { promptLength: 8, depth: cell.depth })).loss
      expect(cell).toMatchObject({ windows: 3, tokens: 3 * 16 })
      expect(cell.perplexity.mean).toBeCloseTo(Math.exp(loss / 3), 3)
    }
    const ratios = generation!.texts.map(({ perplexityRatio }) => perplexityRatio.mean)
    expect(ratios[0]).toBe(1)
    expect(Math.min(ratios[1]!, ratios[2]!)).toBeGreaterThan(1)
  })

  it('goes on where it was stopped, with the same result', async () => {
    const path = join(folder, 'stopped.answers.jsonl')
    const settings = { kvType: null, threads: 1 }
    let report: EvalReport | null = null
    let runs = 0
    while (report === null) {
      const stop = new AbortController()
      const kept = await openTurnsFile(path, model, options, settings)
      report = await evaluateGeneration(model, {
        ...options,
        kept,
        signal: stop.signal,
        onProgress: (done, _, before) => {
          if (done - before >= 6) stop.abort()
        },
      })
        .catch(() => {
          expect(stop.signal.aborted).toBe(true)
          return null
        })
        .finally(() => kept.close())
      if (report === null) truncateSync(path, readFileSync(path).length - 5)
      expect(++runs).toBeLessThan(40)
    }
    expect(runs).toBeGreaterThan(3)
    expect(timeless(report)).toEqual(timeless(await evaluateGeneration(model, options)))
    const other = openTurnsFile(path, model, { ...options, window: 25 }, settings)
    await expect(other).rejects.toThrow(/begun by a run with window 24, not 25/)
    const damaged = readFileSync(path, 'utf8').replace('"rowLayers":', '"rowLayers":-')
    writeFileSync(path, damaged)
    await expect(openTurnsFile(path, model, options, settings)).rejects.toThrow(/rowLayers must be a whole number/)
  })
})

it('agreement counts tokens up to the first difference', () => {
  expect(agreedShare([1, 2, 3], [1, 2, 3])).toBe(1)
  expect(agreedShare([1, 2, 3, 4], [1, 2])).toBe(0.5)
  expect(agreedShare([9, 2], [1, 2])).toBe(0)
})

it('windows hold every token once behind what the tokenizer puts in front; a text that is too short is refused', () => {
  const task: TextTask = { name: 'short', path: 'short.txt', text: 'It was a dark and stormy night.' }
  const tokenizer = model.tokenizer!
  const [start, ...ids] = tokenizer.encode(task.text)
  const windows = textWindows(tokenizer, task, { window: 4, promptLength: 1 })
  expect(windows.every((window) => window[0] === start && window.length <= 4)).toBe(true)
  expect(windows.flatMap((window) => window.slice(1))).toEqual(ids)
  expect(() => textWindows(tokenizer, task, { window: 400, promptLength: 300 })).toThrow(/too few to score/)
})

/** Times differ from run to run; the rest may not. */
function timeless({ generation }: EvalReport): unknown {
  return {
    texts: generation!.texts,
    cells: generation!.cells.map(
      ({ outputTokensPerSecond: _a, allTokensPerSecond: _b, speedup: _c, allSpeedup: _d, ...rest }) => rest,
    ),
  }
}
