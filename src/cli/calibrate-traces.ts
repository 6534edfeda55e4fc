import { measureCheckCost } from '../calibrate/check-cost.js'
import { chooseCheckTokens } from '../calibrate/check-tokens.js'
import {
  countQuestions,
  type TraceRecord,
  type TraceTasksOptions,
  traceSetOf,
  traceTasks,
} from '../calibrate/trace-task.js'
import type { TraceSet } from '../calibrate/traces.js'
import { type FeatureName, featureNeeds } from '../depth/exit-features.js'
import { questionsOf } from '../tasks/index.js'
import type { Cli } from './cli.js'
import { type ModelOptions, withModel } from './model-options.js'
import { bar, createProgressLine } from './progress-line.js'
import { loadTasks, type TaskOptions, templateOf, timeLeft } from './task-options.js'

interface AnswerOptions extends ModelOptions, TaskOptions {
  readonly task: readonly string[]
  readonly shots: number
  /** Tokens of the check head; 0 for the whole vocabulary. */
  readonly checkTokens: number
  /** What the policy will look at. */
  readonly features: readonly FeatureName[]
}

export interface AnswerTraces {
  readonly traces: TraceSet
  readonly model: { readonly name: string; readonly fingerprint: string }
  /** What a check costs in layers, on a prompt of the tasks. */
  readonly checkCost: number
}

/** Traces of the tasks' answers, kept in memory, and what a check costs on them. */
export async function traceAnswers(cli: Cli, name: string | undefined, options: AnswerOptions): Promise<AnswerTraces> {
  const { shots, seed, limit, checkTokens: count } = options
  return await withModel(
    cli,
    name,
    options,
    async (model) => {
      const tasks = await loadTasks(options.task, options)
      const base: TraceTasksOptions = {
        shots,
        seed,
        positions: 'answer',
        maxTokens: 1,
        signal: cli.signal,
        ...templateOf(options),
        ...(limit === undefined ? {} : { limit }),
      }
      const checkTokens =
        count === 0 || count >= model.hyperparameters.vocabulary
          ? null
          : await chooseCheckTokens(model, tasks, base, count)
      const traceOptions = checkTokens === null ? base : { ...base, checkTokens }
      const total = countQuestions(model, tasks, traceOptions)
      const line = createProgressLine(cli)
      const started = performance.now()
      const records: TraceRecord[] = []
      try {
        for await (const record of traceTasks(model, tasks, traceOptions)) {
          records.push(record)
          line.show(
            `${bar(records.length / total)} ${records.length} of ${total} questions · ${timeLeft(started, records.length, total)}`,
          )
        }
      } finally {
        line.clear()
      }
      const traces = traceSetOf(records, model.hyperparameters.layers, checkTokens)
      const [first] = tasks
      const [question] = first ? questionsOf(model, first, { ...base, score: 'token', limit: 1 }).questions : []
      const needs = featureNeeds(options.features)
      const checkCost = question
        ? await measureCheckCost(model, question.prompt.ids, checkTokens, needs, cli.signal)
        : 0
      return { traces, model: { name: model.name, fingerprint: model.fingerprint }, checkCost }
    },
    { slots: 1 },
  )
}
