import { rm } from 'node:fs/promises'
import { type AskOptions, planQuestions, traceQuestions } from '../calibrate/ask.js'
import { promptEnds } from '../calibrate/bridges/prompt-ends.js'
import { measureCheckCost } from '../calibrate/check-cost.js'
import { chooseCheckTokens } from '../calibrate/check-tokens.js'
import type { Split } from '../calibrate/split.js'
import type { TraceSet } from '../calibrate/traces.js'
import { type FeatureName, featureNeeds } from '../depth/exit-features.js'
import type { PolicyLens } from '../depth/policy-file.js'
import { type CalibrateLensOptions, calibrateLens } from './calibrate-lens.js'
import type { Cli } from './cli.js'
import { type ModelOptions, withModel } from './model-options.js'
import { loadTasks, type TaskOptions, templateOf } from './task-options.js'
import { withTraceProgress } from './trace-progress.js'

interface AnswerOptions extends ModelOptions, TaskOptions, CalibrateLensOptions {
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
  /** What they were read through. */
  readonly lens: PolicyLens | null
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
      const plain: AskOptions = {
        shots,
        draws,
        seed,
        positions: 'answer',
        maxTokens: 1,
        signal: cli.signal,
        ...templateOf(options),
        ...(limit === undefined ? {} : { limit }),
      }
      const { questions } = planQuestions(model, tasks, plain)
      const parts = split?.(questions.map(({ input }) => input))
      const seen = questions.filter((_, i) => parts === undefined || parts[i] === 'train')
      const lens = await calibrateLens(cli, model, promptEnds(seen), options)
      const base: AskOptions = { ...plain, ...(lens === undefined ? {} : { lens }) }
      const asking: AskOptions =
        count === 0 || count >= model.hyperparameters.vocabulary
          ? base
          : { ...base, checkTokens: await chooseCheckTokens(model, seen, base, count) }
      const traces = await withTraceProgress(cli, kept, '', (keeping) =>
        traceQuestions(model, tasks, questions, asking, keeping),
      )
      const needs = featureNeeds(options.features)
      const ids = questions[0]?.prompt.ids
      const reading = { checkTokens: traces.checkTokens, ...(lens && { lens: lens.bridges }) }
      const checkCost = ids ? await measureCheckCost(model, ids, { ...reading, needs, signal: cli.signal }) : 0
      return { traces, checkCost, lens: lens === undefined ? null : { file: lens.path, sha256: lens.source } }
    },
    // Texts for a lens are sampled several at once.
    { slots: options.lens === true ? 8 : 1 },
  )
}

/** Where answers are kept while a policy file is made. */
export function answersBeside(output: string): string {
  return `${output.replace(/\.json$/, '')}.answers.jsonl`
}

export async function forgetAnswers(output: string): Promise<void> {
  await rm(answersBeside(output), { force: true })
}
