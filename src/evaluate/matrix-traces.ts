import { createHash } from 'node:crypto'
import {
  type AskOptions,
  drawnForTraining,
  planQuestions,
  type TraceOptions,
  traceQuestions,
} from '../calibrate/ask.js'
import { LEAST_QUESTIONS } from '../calibrate/cross-fit.js'
import { type Split, splitTraces } from '../calibrate/split.js'
import { pooledTraces, type TraceSet } from '../calibrate/traces.js'
import type { Model } from '../engine/api.js'
import { InputError } from '../errors.js'
import type { Task } from '../tasks/index.js'
import { trainedWindow } from './trained-window.js'

/** What a prompt is for: half train a classifier and choose its threshold, half test it. */
export const PARTS = ['train', 'test'] as const
export type Part = (typeof PARTS)[number]

/** A task's traces on one model, in parts that share no question. */
export interface TracedTask {
  readonly task: string
  readonly group: string
  readonly parts: Readonly<Record<Part, TraceSet>>
  /** Questions that did not fit the context alone. */
  readonly skipped: number
  /** True where prompts were longer than the window that the model was trained on. */
  readonly beyondWindow: boolean
}

/** What of a model decides whether another's classifiers can serve it. */
export interface ModelShape {
  /** As the matrix shows it. */
  readonly name: string
  readonly layers: number
  /** Tells vocabularies apart. */
  readonly vocabulary: string
}

export interface TracedModel extends ModelShape {
  readonly fingerprint: string | null
  readonly tasks: readonly TracedTask[]
}

/**
 * Runs every question of the tasks at full depth, the training part's with every draw of shots. The same input has the same part
 * in every task and model.
 * @param name as the matrix shows the model
 * @throws InputError where a task has too few questions to train on
 */
export async function traceParts(
  model: Model,
  name: string,
  tasks: readonly Task[],
  split: Split<Part>,
  asking: AskOptions,
  keeping: TraceOptions = {},
): Promise<TracedModel> {
  const { questions, skipped } = planQuestions(model, tasks, asking)
  for (const task of tasks) {
    const own = questions.filter((question) => question.task === task && question.draw === 0)
    const parts = split(own.map(({ input }) => input))
    const train = parts.filter((part) => part === 'train').length
    if (train < LEAST_QUESTIONS || train === parts.length) {
      throw new InputError(
        `task ${task.name}: ${own.length} questions are too few: half of them train a classifier, which takes ${LEAST_QUESTIONS}`,
      )
    }
  }
  const asked = drawnForTraining(questions, split)
  const part = splitTraces(await traceQuestions(model, tasks, asked, asking, keeping), split)
  const traced = tasks.map((task, t): TracedTask => {
    const of = (wanted: Part) => pooledTraces([part(wanted)], ({ task: own }) => own === task.name)
    const isBeyond = asked.some((own) => own.task === task && own.prompt.ids.length > trainedWindow(model.name))
    const { name: own, group } = task
    return {
      task: own,
      group,
      parts: { train: of('train'), test: of('test') },
      skipped: skipped[t]!,
      beyondWindow: isBeyond,
    }
  })
  return { ...shapeOf(model, name), fingerprint: model.fingerprint, tasks: traced }
}

/** @param name as the matrix shows the model */
export function shapeOf({ hyperparameters, tokenizer }: Model, name: string): ModelShape {
  const hash = createHash('sha256')
  for (let id = 0; id < (tokenizer?.size ?? 0); id++) hash.update(JSON.stringify(tokenizer?.decode([id])))
  return { name, layers: hyperparameters.layers, vocabulary: hash.digest('hex') }
}
