import type { Model } from '../engine/api.js'
import { questionsOf, type Task } from '../tasks/index.js'
import { type PositionTrace, recordPositions } from './record.js'
import { equalTo, type TraceInstance, type TraceSet } from './traces.js'

export interface TraceTasksOptions {
  readonly shots: number
  readonly seed: number
  /** `answer`: the position before each answer. `generated`: every token of a greedy continuation. */
  readonly positions: 'answer' | 'generated'
  readonly maxTokens: number
  readonly template?: string
  /** Questions of a task at most. */
  readonly limit?: number
  /** Features of a check head of these tokens, ascending; labels stay those of the whole head. */
  readonly checkTokens?: readonly number[]
  readonly signal?: AbortSignal
}

/** The traces of one question: one position for an answer, one per token for a generated text. */
export interface TraceRecord {
  /** Counts the questions of a run from 0. */
  readonly instance: number
  readonly task: string
  /** First token of the gold answer; null for generated tokens. */
  readonly gold: number | null
  /** Position in the sequence of the first trace; the others follow. */
  readonly position: number
  readonly traces: readonly PositionTrace[]
}

/** How many questions `traceTasks` will trace. */
export function countQuestions(model: Model, tasks: readonly Task[], options: TraceTasksOptions): number {
  return tasks.reduce((sum, task) => sum + select(model, task, options).length, 0)
}

/**
 * Full-depth runs over the questions of tasks, one record each, in order.
 * @param done instances that are known already and are passed over
 */
export async function* traceTasks(
  model: Model,
  tasks: readonly Task[],
  options: TraceTasksOptions,
  done: ReadonlySet<number> = new Set(),
): AsyncGenerator<TraceRecord> {
  let instance = 0
  for (const task of tasks) {
    for (const { prompt } of select(model, task, options)) {
      const number = instance++
      if (done.has(number)) continue
      const position = prompt.ids.length - 1
      if (options.positions === 'answer') {
        const traces = await recordPositions(model, prompt.ids, [], options.signal, options.checkTokens)
        yield { instance: number, task: task.name, gold: prompt.golds[0]?.[0] ?? null, position, traces }
        continue
      }
      const { tokens } = await model.generate(prompt.ids, {
        depth: 'full',
        maxTokens: options.maxTokens,
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      }).result
      const traces = await recordPositions(model, prompt.ids, tokens.slice(0, -1), options.signal, options.checkTokens)
      yield { instance: number, task: task.name, gold: null, position, traces }
    }
  }
}

/** Traces in memory, as `readTraces` would give them. */
export function traceSetOf(
  records: readonly TraceRecord[],
  layers: number,
  checkTokens: readonly number[] | null = null,
): TraceSet {
  const instances = records.flatMap((record, sequence) =>
    record.traces.map((trace): TraceInstance => {
      const agree = equalTo(trace.top1, trace.top1[layers - 1] as number)
      const correct = record.gold === null ? null : equalTo(trace.top1, record.gold)
      return {
        task: record.task,
        sequence,
        question: String(sequence),
        features: trace.features,
        top1: trace.top1,
        ...(trace.checkTop === null ? {} : { checkTop: trace.checkTop }),
        agree,
        correct,
      }
    }),
  )
  const unit = records.some((record) => record.traces.length > 1) ? 'generated' : 'answer'
  return { path: '', layers, unit, checkTokens, sequences: records.length, instances }
}

function select(model: Model, task: Task, { shots, seed, template, limit, positions, maxTokens }: TraceTasksOptions) {
  return questionsOf(model, task, {
    shots,
    seed,
    score: positions === 'answer' ? 'token' : 'generate',
    maxTokens,
    ...(template === undefined ? {} : { template }),
    ...(limit === undefined ? {} : { limit }),
  }).questions
}
