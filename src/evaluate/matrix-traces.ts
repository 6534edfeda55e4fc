import { createHash } from 'node:crypto'
import { LEAST_QUESTIONS } from '../calibrate/cross-fit.js'
import { type PositionTrace, recordPositions } from '../calibrate/record.js'
import { type Split as Dealt, createSplit as deal } from '../calibrate/split.js'
import { equalTo, type TraceInstance, type TraceSet } from '../calibrate/traces.js'
import type { Model } from '../engine/api.js'
import { InputError } from '../errors.js'
import { isGoldToken, type Question, questionsOf, type Task } from '../tasks/index.js'
import { trainedWindow } from './trained-window.js'

/** What a prompt is for: half train a classifier and choose its threshold, half test it. */
export const PARTS = ['train', 'test'] as const
export type Part = (typeof PARTS)[number]
export type Split = Dealt<Part>

/** The same input has the same part in every task and model. */
export function createSplit(seed: number): Split {
  return deal(PARTS, seed)
}

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

export interface TracePartsOptions {
  readonly shots: number
  readonly seed: number
  readonly template?: string
  /** Questions of a task at most. */
  readonly limit?: number
  readonly signal?: AbortSignal
  /** Traces of an earlier run, and where those of this one are kept. */
  readonly kept?: KeptTraces
  /** Questions traced so far, of how many, and those that an earlier run had traced. */
  readonly onProgress?: (done: number, total: number, before: number) => void
}

/** Traces by model, task and index of the question. */
export interface KeptTraces {
  recall(model: Model, task: Task, question: Question): PositionTrace | undefined
  append(model: Model, task: Task, question: Question, trace: PositionTrace): void
}

/**
 * Runs every question of the tasks once, at full depth, and keeps what each layer would have said of the answer.
 * @param name as the matrix shows the model
 * @throws InputError where a task has too few questions to train on
 */
export async function traceParts(
  model: Model,
  name: string,
  tasks: readonly Task[],
  split: Split,
  options: TracePartsOptions,
): Promise<TracedModel> {
  const { shots, seed, template, limit, signal, kept, onProgress } = options
  const { layers } = model.hyperparameters
  const asked = tasks.map((task) => {
    const { questions, skipped } = questionsOf(model, task, {
      shots,
      seed,
      score: 'token',
      ...(template === undefined ? {} : { template }),
      ...(limit === undefined ? {} : { limit }),
    })
    const parts = split(questions.map(({ index }) => task.items[index]!.input))
    const train = parts.filter((part) => part === 'train').length
    if (train < LEAST_QUESTIONS || train === parts.length) {
      throw new InputError(
        `task ${task.name}: ${questions.length} questions are too few: half of them train a classifier, which takes ${LEAST_QUESTIONS}`,
      )
    }
    return { task, questions, skipped, parts }
  })
  const total = asked.reduce((sum, { questions }) => sum + questions.length, 0)
  let done = 0
  let before = 0
  const traced: TracedTask[] = []
  for (const { task, questions, skipped, parts } of asked) {
    const instances: TraceInstance[] = []
    for (const question of questions) {
      let trace = kept?.recall(model, task, question)
      if (trace === undefined) {
        ;[trace] = await recordPositions(model, question.prompt.ids, [], signal)
        kept?.append(model, task, question, trace!)
      } else before++
      instances.push(instanceOf(task, question, instances.length, trace!))
      onProgress?.(++done, total, before)
    }
    const setOf = (part: Part): TraceSet =>
      traceSet(
        layers,
        instances.filter((_, i) => parts[i] === part),
      )
    traced.push({
      task: task.name,
      group: task.group,
      parts: { train: setOf('train'), test: setOf('test') },
      skipped,
      beyondWindow: questions.some(({ prompt }) => prompt.ids.length > trainedWindow(model.name)),
    })
  }
  return { ...shapeOf(model, name), fingerprint: model.fingerprint, tasks: traced }
}

/** @param name as the matrix shows the model */
export function shapeOf({ hyperparameters, tokenizer }: Model, name: string): ModelShape {
  const hash = createHash('sha256')
  for (let id = 0; id < (tokenizer?.size ?? 0); id++) hash.update(JSON.stringify(tokenizer?.decode([id])))
  return { name, layers: hyperparameters.layers, vocabulary: hash.digest('hex') }
}

function instanceOf(
  { name, items }: Task,
  { index, prompt }: Question,
  sequence: number,
  { top1, features }: PositionTrace,
): TraceInstance {
  return {
    task: name,
    sequence,
    question: items[index]!.input,
    features,
    top1,
    agree: equalTo(top1, top1.at(-1)!),
    correct: Uint8Array.from(top1, (top) => Number(isGoldToken(top, prompt.golds))),
  }
}

/** Answers as a set of their own. */
export function traceSet(layers: number, instances: readonly TraceInstance[]): TraceSet {
  const own = instances.map((instance, sequence) => ({ ...instance, sequence }))
  return {
    path: '',
    layers,
    unit: 'answer',
    checkTokens: null,
    model: null,
    prompts: null,
    sequences: own.length,
    instances: own,
  }
}
