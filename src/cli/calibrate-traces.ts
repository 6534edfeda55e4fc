import { rm } from 'node:fs/promises'
import { type AskOptions, askQuestions, planQuestions, questionFacts } from '../calibrate/ask.js'
import { measureCheckCost } from '../calibrate/check-cost.js'
import { chooseCheckTokens } from '../calibrate/check-tokens.js'
import { openQuestions, type QuestionRecord } from '../calibrate/question-file.js'
import type { Split } from '../calibrate/split.js'
import { type TraceSet, traceSetOf } from '../calibrate/traces.js'
import { type FeatureName, featureNeeds } from '../depth/exit-features.js'
import { printable } from '../errors.js'
import { type Cli, note } from './cli.js'
import { type ModelOptions, withModel } from './model-options.js'
import { bar, createProgressLine } from './progress-line.js'
import { loadTasks, type TaskOptions, templateOf, timeLeft } from './task-options.js'

interface AnswerOptions extends ModelOptions, TaskOptions {
  readonly task: readonly string[]
  readonly shots: number
  readonly draws: number
  /** Tokens of the check head; 0 for the whole vocabulary. */
  readonly checkTokens: number
  /** What the policy will look at. */
  readonly features: readonly FeatureName[]
  /** Where a bound is to be tested: whatever is chosen comes from the training part alone. */
  readonly split: Split<'train' | 'test'> | null
  /** Where the answers are kept until the policy is written. */
  readonly kept: string
}

export interface AnswerTraces {
  readonly traces: TraceSet
  /** What a check costs in layers, on a prompt of the tasks. */
  readonly checkCost: number
}

/** Traces of the tasks' answers, and what a check costs on them. */
export async function traceAnswers(cli: Cli, name: string | undefined, options: AnswerOptions): Promise<AnswerTraces> {
  const { shots, draws, seed, limit, checkTokens: count, split, kept } = options
  return await withModel(
    cli,
    name,
    options,
    async (model) => {
      const tasks = await loadTasks(options.task, options)
      const base: AskOptions = {
        shots,
        draws,
        seed,
        positions: 'answer',
        maxTokens: 1,
        signal: cli.signal,
        ...templateOf(options),
        ...(limit === undefined ? {} : { limit }),
      }
      const { questions } = planQuestions(model, tasks, base)
      const parts = split?.(questions.map(({ task, index }) => task.items[index]!.input))
      const seen = questions.filter((_, i) => parts === undefined || parts[i] === 'train')
      const asking: AskOptions =
        count === 0 || count >= model.hyperparameters.vocabulary
          ? base
          : { ...base, checkTokens: await chooseCheckTokens(model, seen, base, count) }
      const facts = questionFacts(model, tasks, asking)
      const store = openQuestions(kept, facts)
      if (store.kept > 0) note(cli, `going on with the ${store.kept} answers that ${printable(kept)} holds`)
      const line = createProgressLine(cli)
      const started = performance.now()
      const records: QuestionRecord[] = []
      let before = 0
      try {
        for await (const { record, known } of askQuestions(model, questions, asking, store)) {
          records.push(record)
          if (known) before++
          const [done, total] = [records.length, questions.length]
          const left = timeLeft(started, done - before, total - before)
          line.show(`${bar(done / total)} ${done} of ${total} questions · ${left}`)
        }
      } finally {
        line.clear()
        store.close()
      }
      const needs = featureNeeds(options.features)
      const checkCost =
        questions[0] === undefined
          ? 0
          : await measureCheckCost(model, questions[0].prompt.ids, facts.check_tokens, needs, cli.signal)
      return { traces: traceSetOf(records, facts), checkCost }
    },
    { slots: 1 },
  )
}

/** Where answers are kept while a policy file is made. */
export function answersBeside(output: string): string {
  return `${output.replace(/\.json$/, '')}.answers.jsonl`
}

export async function forgetAnswers(output: string): Promise<void> {
  await rm(answersBeside(output), { force: true })
}
