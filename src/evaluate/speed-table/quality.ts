import type { Model } from '../../engine/api.js'
import type { Task, TextTask } from '../../tasks/index.js'
import { evaluate } from '../evaluate.js'
import { evaluateGeneration } from '../generation/evaluate.js'
import type { Interval } from '../result.js'
import { trainedWindow } from '../trained-window.js'

/** How good a depth is. */
export interface Quality {
  readonly perplexity: Interval
  /** Over full depth's, paired. */
  readonly perplexityRatio: Interval
  /** Share of generated answers to rule tasks that are right; null where there were no tasks. */
  readonly accuracy: Interval | null
  /** Less full depth's, paired. */
  readonly accuracyDifference: Interval | null
}

export interface QualityOptions {
  readonly text: TextTask
  readonly tasks: readonly Task[]
  /** Windows of the text at most; null for all that there are. */
  readonly windows: number | null
  /** Questions of each task at most. */
  readonly questions: number
  readonly signal?: AbortSignal
  readonly onProgress?: (share: number) => void
}

/** Shots and new tokens of rule tasks: their answers are a word or two. */
const SHOTS = 5
const ANSWER_TOKENS = 8
/** Tokens of a window, and those that run at full depth before its others. */
const WINDOW = { tokens: 256, prompt: 32 }

/** Perplexity and rule-task accuracy of SPECs, full depth among the results, by canonical SPEC. */
export async function qualityOf(
  model: Model,
  depths: readonly string[],
  options: QualityOptions,
): Promise<Map<string, Quality>> {
  const { text, tasks, signal, onProgress } = options
  const half = (done: number, total: number): number => done / total / (tasks.length > 0 ? 2 : 1)
  const common = { depths, seed: 0, ...(signal === undefined ? {} : { signal }) }
  const { generation } = await evaluateGeneration(model, {
    ...common,
    tasks: [],
    texts: [text],
    shots: [0],
    batches: [1],
    metrics: [],
    ...(options.windows === null ? {} : { limit: options.windows }),
    maxTokens: 1,
    beams: null,
    noRepeatNgram: 0,
    window: Math.min(WINDOW.tokens, trainedWindow(model.name), model.context),
    promptLength: Math.min(WINDOW.prompt, Math.ceil(model.context / 2)),
    onProgress: (done, total) => onProgress?.(half(done, total)),
  })
  const report =
    tasks.length === 0
      ? null
      : await evaluate(model, {
          ...common,
          tasks,
          shots: [SHOTS],
          score: 'generate',
          limit: options.questions,
          maxTokens: ANSWER_TOKENS,
          controls: false,
          onProgress: (done, total) => onProgress?.(0.5 + half(done, total)),
        })
  return new Map(
    generation!.texts.map(({ depth, perplexity, perplexityRatio }) => {
      const answers = report?.overall.find((cell) => cell.depth === depth)
      return [
        depth,
        {
          perplexity,
          perplexityRatio,
          accuracy: answers?.accuracy ?? null,
          accuracyDifference: answers?.accuracyDifference ?? null,
        },
      ]
    }),
  )
}
