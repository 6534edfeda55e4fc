import { digest } from '../checkpoint/journal.js'
import type { BridgeSet } from '../depth/bridge.js'
import type { Model } from '../engine/api.js'
import { DEFAULT_TEMPLATE, type Question, questionsOf, type Task } from '../tasks/index.js'
import { openQuestions, type QuestionFacts, type QuestionRecord } from './question-file.js'
import { recordPositions } from './record.js'
import type { Split } from './split.js'
import { type TraceSet, traceSetOf } from './traces.js'

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
  /** Layers are read through it. */
  readonly lens?: BridgeSet
  readonly signal?: AbortSignal
}

/** A question that is to be asked, with one draw of shots. */
export interface PlannedQuestion extends Question {
  readonly task: Task
  readonly draw: number
  /** The item's. */
  readonly input: string
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
      for (const question of asked.questions) {
        questions.push({ task, draw, input: task.items[question.index]!.input, ...question })
      }
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
    contents_of_tasks: digest(tasks.map((task) => [task.items, task.shots])),
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
    lens: options.lens?.source ?? null,
  }
}

/** Where a long run keeps its records, and what it says meanwhile. */
export interface TraceOptions {
  /** A file of questions, which gives those that it holds already; without one nothing is kept. */
  readonly path?: string
  /** Called where the file holds questions already. */
  readonly onKept?: (count: number) => void
  /** Questions so far, of how many, and how many of them the file held. */
  readonly onProgress?: (done: number, total: number, before: number) => void
}

/**
 * Full-depth runs over questions, in order; one that is stopped loses the question at hand.
 * @throws FileError where the file is of another run
 */
export async function traceQuestions(
  model: Model,
  tasks: readonly Task[],
  questions: readonly PlannedQuestion[],
  asking: AskOptions,
  { path, onKept, onProgress }: TraceOptions = {},
): Promise<TraceSet> {
  const facts = questionFacts(model, tasks, asking)
  const store = path === undefined ? null : openQuestions(path, facts)
  const records: QuestionRecord[] = []
  let before = 0
  try {
    if (store !== null && store.kept > 0) onKept?.(store.kept)
    for (const question of questions) {
      const { task, index, draw, input } = question
      let record = store?.recall({ task: task.name, index, draw, question: input })
      if (record === undefined) {
        record = await askQuestion(model, question, asking)
        store?.append(record)
      } else before++
      records.push(record)
      onProgress?.(records.length, questions.length, before)
    }
    return traceSetOf(records, facts, path)
  } finally {
    store?.close()
  }
}

/** Training questions with every draw of shots, the others with the first alone. */
export function drawnForTraining(
  questions: readonly PlannedQuestion[],
  split: Split<'train' | 'test'>,
): PlannedQuestion[] {
  const parts = split(questions.map(({ input }) => input))
  return questions.filter(({ draw }, i) => draw === 0 || parts[i] === 'train')
}

/** One full-depth run. */
export async function askQuestion(
  model: Model,
  { task, index, draw, input, prompt }: PlannedQuestion,
  { positions, maxTokens, checkTokens, lens, signal }: AskOptions,
): Promise<QuestionRecord> {
  const reading = { ...(checkTokens && { checkTokens }), ...(lens && { lens: lens.bridges }) }
  const about = { task: task.name, index, draw, question: input, shots: prompt.shots, position: prompt.ids.length - 1 }
  if (positions === 'answer') {
    const traces = await recordPositions(model, prompt.ids, [], signal, reading)
    return { ...about, golds: [...new Set(prompt.golds.map(([first]) => first!))], traces }
  }
  const how = { depth: 'full', maxTokens, ...(signal === undefined ? {} : { signal }) }
  const { tokens } = await model.generate(prompt.ids, how).result
  const traces = await recordPositions(model, prompt.ids, tokens.slice(0, -1), signal, reading)
  return { ...about, golds: null, traces }
}
