import type { Model } from '../engine/api.js'
import { InputError } from '../errors.js'
import { type BuiltPrompt, buildPrompt, shotEncoding } from './prompt.js'
import type { ScoreMode } from './scoring.js'
import type { Task } from './task.js'
import { DEFAULT_TEMPLATE, parseTemplate } from './template.js'

export interface QuestionOptions {
  readonly shots: number
  readonly seed: number
  readonly score: ScoreMode
  readonly template?: string
  /** Questions at most; default all. */
  readonly limit?: number
  /** Tokens that a generated answer may take. */
  readonly maxTokens?: number
}

/** A question of a task, ready for a model. */
export interface Question {
  readonly index: number
  readonly prompt: BuiltPrompt
}

/** The questions of a task that fit the model's context, in order, and how many do not. */
export function questionsOf(
  model: Model,
  task: Task,
  options: QuestionOptions,
): { questions: Question[]; skipped: number } {
  const { tokenizer } = model
  if (tokenizer === null) throw new InputError(`${model.name} has no tokenizer files, and tasks are text`)
  const template = parseTemplate(options.template ?? DEFAULT_TEMPLATE)
  const questions: Question[] = []
  let skipped = 0
  for (let index = 0; index < task.items.length && questions.length < (options.limit ?? task.items.length); index++) {
    const prompt = buildPrompt(task, index, {
      tokenizer,
      template,
      shots: options.shots,
      seed: options.seed,
      score: options.score,
      encoding: shotEncoding(template, model.settings),
      context: model.context,
      ...(options.maxTokens === undefined ? {} : { maxTokens: options.maxTokens }),
    })
    if (prompt === null) skipped++
    else questions.push({ index, prompt })
  }
  return { questions, skipped }
}
