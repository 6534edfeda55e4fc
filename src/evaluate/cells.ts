import { type ExitRule, outcomes } from '../calibrate/outcomes.js'
import type { TraceSet } from '../calibrate/traces.js'
import type { Policy } from '../depth/policy.js'
import type { Question } from '../tasks/index.js'
import { answerFlops } from './answer-cost.js'
import type { Answer } from './answers.js'
import { bootstrapMean, pairedBootstrap, ratioBootstrap, SHARE, SHARE_DIFFERENCE } from './bootstrap.js'
import type { ModelSize } from './cost.js'
import type { EvalCell } from './result.js'

/** A depth that is evaluated; null stands for full depth and for controls that are computed. */
export interface DepthName {
  readonly name: string
  readonly policy: Policy | null
}

/** One question, its answer under a depth, and full depth's. Times of a computed control are NaN. */
export interface Asked {
  readonly question: Question
  readonly answer: Answer
  readonly full: Answer
}

/** Answers as a rule's exits in full-depth traces have them: right to the token, and without a time. */
export function tracedAnswers(questions: readonly Question[], traces: TraceSet, rule: ExitRule): Asked[] {
  const { exits } = outcomes(traces, rule)
  return questions.map((question, i) => {
    const { correct, top1, agree } = traces.instances[i]!
    const at = (layer: number): Answer => ({
      correct: correct?.[layer] ?? 0,
      f1: null,
      choice: (top1 ?? agree)[layer]!,
      depth: layer + 1,
      runs: [[layer + 1]],
      ms: Number.NaN,
      checkMs: Number.NaN,
    })
    return { question, answer: at(exits[i]!), full: at(traces.layers - 1) }
  })
}

interface CellKey {
  readonly task: string
  readonly group: string
  readonly shots: number
  readonly skipped: number
  /** Tokens of the longest prompt that the model was trained on. */
  readonly window: number
}

/** All figures of one cell with their 95% intervals. */
export function cellOf(
  { window, ...key }: CellKey,
  depth: DepthName,
  asked: readonly Asked[],
  size: ModelSize,
  seed: number,
): EvalCell {
  const numbers = (of: (a: Asked) => number) => Float64Array.from(asked, of)
  const correct = numbers((a) => a.answer.correct)
  const f1 = asked.map((a) => a.answer.f1).filter((value) => value !== null)
  const depths = numbers((a) => a.answer.depth)
  const ms = numbers((a) => a.answer.ms)
  const measured = !ms.some(Number.isNaN)
  const { flops, flopsWithChecks, full } = totalFlops(depth, asked, size)
  const depthMean = bootstrapMean(depths, { seed })
  const histogram = Array.from({ length: size.layers }, () => 0)
  for (const d of depths) histogram[Math.round(d) - 1] = (histogram[Math.round(d) - 1] ?? 0) + 1
  return {
    ...key,
    shotsUsed: mean(asked.map((a) => a.question.prompt.shots)),
    beyondWindow: asked.some((a) => a.question.prompt.ids.length > window),
    depth: depth.name,
    prompts: asked.length,
    accuracy: bootstrapMean(correct, { seed, range: SHARE }),
    f1: f1.length === asked.length ? bootstrapMean(f1, { seed, range: SHARE }) : null,
    accuracyDifference: pairedBootstrap(
      correct,
      numbers((a) => a.full.correct),
      { seed, range: SHARE_DIFFERENCE },
    ),
    agreement: bootstrapMean(
      numbers((a) => Number(a.answer.choice === a.full.choice)),
      { seed, range: SHARE },
    ),
    depthMean,
    pruningRatio: 1 - depthMean.mean / size.layers,
    flopsRatio: flops / full,
    flopsRatioWithChecks: flopsWithChecks / full,
    answerMs: measured ? bootstrapMean(ms, { seed }) : null,
    timeRatio: measured
      ? ratioBootstrap(
          ms,
          numbers((a) => a.full.ms),
          { seed },
        )
      : null,
    checkShare: measured ? sum(asked.map((a) => a.answer.checkMs)) / sum(asked.map((a) => a.answer.ms)) : null,
    histogram,
  }
}

function totalFlops({ policy }: DepthName, asked: readonly Asked[], size: ModelSize) {
  const costs = asked.flatMap(({ question, answer }) =>
    answer.runs.map((depths) => answerFlops(size, question.prompt.ids.length, depths, policy)),
  )
  return {
    flops: sum(costs.map(({ flops }) => flops)),
    flopsWithChecks: sum(costs.map(({ flopsWithChecks }) => flopsWithChecks)),
    full: sum(costs.map(({ full }) => full)),
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0)
}

function mean(values: readonly number[]): number {
  return sum(values) / values.length
}
