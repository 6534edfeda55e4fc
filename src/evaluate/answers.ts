import type { Depth, Model } from '../engine/api.js'
import {
  exactMatch,
  isGoldToken,
  labelTokens,
  logLikelihood,
  pickLabel,
  type Question,
  type ScoreMode,
  squadExactMatch,
  squadF1,
  type Task,
} from '../tasks/index.js'

/** What a model answered to one question under one depth. */
export interface Answer {
  /** 1 or 0; under `generate` of SQuAD it is exact match. */
  readonly correct: number
  /** F1 of a generated SQuAD answer; else null. */
  readonly f1: number | null
  /** What is compared with full depth's: a token id, a candidate's index, or a text. */
  readonly choice: number | string
  /** Layers run when the answer was known: the mean over all rows of `runs`. */
  readonly depth: number
  /** Depths of the rows whose logits were read, run by run: the prompt's last row, then each token fed after it. */
  readonly runs: readonly (readonly number[])[]
  /** From the first layer to the answer. */
  readonly ms: number
  readonly checkMs: number
}

export interface AnswerOptions {
  readonly score: ScoreMode
  /** Of a generated answer. */
  readonly maxTokens: number
  readonly stop: string
  readonly signal?: AbortSignal
}

/** Asks one question under a depth and judges the answer as the score mode says. */
export async function answer(
  model: Model,
  task: Task,
  { index, prompt }: Question,
  depth: Depth,
  options: AnswerOptions,
): Promise<Answer> {
  const signal = options.signal === undefined ? {} : { signal: options.signal }
  const item = task.items[index] as Task['items'][number]
  if (options.score === 'generate') {
    const { maxTokens, stop } = options
    const result = await model.generate(prompt.ids, { depth, maxTokens, stop, ...signal }).result
    const text = result.text.trim()
    const isSquad = task.format === 'squad'
    const correct = isSquad ? squadExactMatch(text, item.answers) : exactMatch(text, item.answers)
    const f1 = isSquad ? squadF1(text, item.answers) : null
    const { timing, meanDepth, depths, checkMs } = result
    return { correct: Number(correct), f1, choice: text, depth: meanDepth, runs: [depths], ms: timing.totalMs, checkMs }
  }
  if (options.score === 'token') {
    const { top, depth: run, depths, ms, checkMs } = await model.predict(prompt.ids, { depth, ...signal })
    const correct = Number(isGoldToken(top, prompt.golds))
    return { correct, f1: null, choice: top, depth: run, runs: [depths], ms, checkMs }
  }
  const candidates = prompt.candidates
  if (candidates === null) throw new Error(`task ${task.name} has no candidate answers`)
  const isGold = (i: number) => item.answers.includes(candidates[i]?.text ?? '')
  if (options.score === 'labels') {
    const tokens = labelTokens(candidates)
    const { logits, depth: run, depths, ms, checkMs } = await model.predict(prompt.ids, { depth, ...signal })
    const choice = pickLabel(logits[0] as Float32Array, tokens)
    const correct = Number(isGold(choice))
    return { correct, f1: null, choice, depth: run, runs: [depths], ms, checkMs }
  }
  let best = { choice: -1, value: Number.NEGATIVE_INFINITY }
  let ms = 0
  let checkMs = 0
  const runs: (readonly number[])[] = []
  for (const [i, { ids }] of candidates.entries()) {
    const prediction = await model.predict(prompt.ids, { depth, continuation: ids.slice(0, -1), ...signal })
    const value = logLikelihood(ids, (k) => prediction.logits[k] as Float32Array)
    if (value > best.value) best = { choice: i, value }
    ms += prediction.ms
    checkMs += prediction.checkMs
    runs.push(prediction.depths)
  }
  const correct = Number(isGold(best.choice))
  const all = runs.flat()
  const mean = all.reduce((sum, own) => sum + own, 0) / all.length
  return { correct, f1: null, choice: best.choice, depth: mean, runs, ms, checkMs }
}
