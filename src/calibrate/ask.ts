import type { Model } from '../engine/api.js'
import { DEFAULT_TEMPLATE, type Question, questionsOf, type Task } from '../tasks/index.js'
import type { QuestionFacts, QuestionRecord, QuestionStore } from './question-file.js'
import { recordPositions } from './record.js'

export interface AskOptions {
  readonly shots: number
  /** Draws of shots that every question is asked with; default 1, and without shots there is one. */
  readonly draws?: number
  /** Of the first draw; the others count on. */
  readonly seed: number
  /** `answer`: the position before each answer. `generated`: every token of a greedy continuation. */
  readonly positions: 'answer' | 'generated'
  /** Of a continuation. */
  readonly maxTokens: number
  readonly template?: string
  /** Questions of a task at most. */
  readonly limit?: number
  /** A check head of these tokens is recorded beside the whole one. */
  readonly checkTokens?: readonly number[]
  readonly signal?: AbortSignal
}

/** A question that is to be asked, with one draw of shots. */
export interface PlannedQuestion extends Question {
  readonly task: Task
  readonly draw: number
}

/** All questions of the tasks that fit the context, in order, and how many of each task do not. */
export function planQuestions(
  model: Model,
  tasks: readonly Task[],
  options: AskOptions,
): { questions: PlannedQuestion[]; skipped: number[] } {
  const { shots, seed, template, limit, positions, maxTokens, draws = 1 } = options
  const questions: PlannedQuestion[] = []
  const skipped = tasks.map((task) => {
    let left = 0
    for (let draw = 0; draw < (shots === 0 ? 1 : draws); draw++) {
      const asked = questionsOf(model, task, {
        shots,
        seed: seed + draw,
        score: positions === 'answer' ? 'token' : 'generate',
        maxTokens,
        ...(template === undefined ? {} : { template }),
        ...(limit === undefined ? {} : { limit }),
      })
      left = Math.max(left, asked.skipped)
      for (const question of asked.questions) questions.push({ task, draw, ...question })
    }
    return left
  })
  return { questions, skipped }
}

/** What a store of these questions is about. */
export function questionFacts(model: Model, tasks: readonly Task[], options: AskOptions): QuestionFacts {
  const { shots, seed, positions, maxTokens, template = DEFAULT_TEMPLATE, draws = 1 } = options
  return {
    model: {
      name: model.name,
      fingerprint: model.fingerprint,
      quantization: model.quantization,
      layers: model.hyperparameters.layers,
      context: model.context,
    },
    tasks: tasks.map(({ name }) => name),
    positions,
    prompts: {
      template,
      shots,
      draws: shots === 0 ? 1 : draws,
      seed,
      sampling: 'greedy',
      max_tokens: positions === 'answer' ? 1 : maxTokens,
    },
    check_tokens: options.checkTokens ?? null,
  }
}

/**
 * Full-depth runs over questions, one record each, in order.
 * @param store gives what it holds already, and keeps the others
 */
export async function* askQuestions(
  model: Model,
  questions: readonly PlannedQuestion[],
  options: AskOptions,
  store?: Pick<QuestionStore, 'recall' | 'append'>,
): AsyncGenerator<{ readonly record: QuestionRecord; readonly known: boolean }> {
  for (const question of questions) {
    const { task, index, draw } = question
    const kept = store?.recall({ task: task.name, index, draw, question: task.items[index]!.input })
    const record = kept ?? (await ask(model, question, options))
    if (kept === undefined) store?.append(record)
    yield { record, known: kept !== undefined }
  }
}

async function ask(model: Model, asked: PlannedQuestion, options: AskOptions): Promise<QuestionRecord> {
  const { task, index, draw, prompt } = asked
  const { positions, maxTokens, checkTokens = null } = options
  const signal = options.signal === undefined ? {} : { signal: options.signal }
  const about = { task: task.name, index, draw, question: task.items[index]!.input, shots: prompt.shots }
  const position = prompt.ids.length - 1
  if (positions === 'answer') {
    const traces = await recordPositions(model, prompt.ids, [], options.signal, checkTokens)
    return { ...about, golds: [...new Set(prompt.golds.map(([first]) => first!))], position, traces }
  }
  const { tokens } = await model.generate(prompt.ids, { depth: 'full', maxTokens, ...signal }).result
  const traces = await recordPositions(model, prompt.ids, tokens.slice(0, -1), options.signal, checkTokens)
  return { ...about, golds: null, position, traces }
}
