import { type AskOptions, askQuestion, questionFacts } from '../calibrate/ask.js'
import type { QuestionRecord } from '../calibrate/question-file.js'
import { type TraceInstance, traceSetOf } from '../calibrate/traces.js'
import type { Model } from '../engine/api.js'
import { familyByArchitecture } from '../families/index.js'
import {
  DEFAULT_TEMPLATE,
  parseTemplate,
  type Question,
  questionsOf,
  type ScoreMode,
  type Task,
} from '../tasks/index.js'
import { type Answer, answer } from './answers.js'
import { type Asked, cellOf, type DepthName } from './cells.js'
import { askedControls, controlsOf } from './controls.js'
import { type ModelSize, modelSize } from './cost.js'
import { curvesOf } from './curves.js'
import { depthNames } from './depth-names.js'
import type { AnswersFile, KeptAnswers, QuestionKey } from './kept-answers.js'
import { machineName } from './machine.js'
import type { EvalCell, EvalReport } from './result.js'
import { trainedWindow } from './trained-window.js'

export interface EvaluateOptions {
  readonly tasks: readonly Task[]
  readonly shots: readonly number[]
  /** SPECs; full depth is always run beside them. */
  readonly depths: readonly string[]
  readonly score: ScoreMode
  readonly seed: number
  /** Questions of a task at most. */
  readonly limit?: number
  readonly template?: string
  readonly maxTokens: number
  /** Adds fixed exit, random, oracle and ShortGPT at each exit policy's mean depth. */
  readonly controls: boolean
  readonly signal?: AbortSignal
  /** Where answers are kept, and where those of an earlier run come from. */
  readonly kept?: AnswersFile
  /** Answers so far, of how many, and how many of them an earlier run had given. */
  readonly onProgress?: (done: number, total: number, kept: number) => void
}

/** What was asked of one task with one number of shots. */
interface Group {
  readonly task: Task
  readonly shots: number
  readonly questions: readonly Question[]
  readonly skipped: number
  readonly window: number
}

/**
 * Runs tasks under several depths and compares each with full depth on the same questions. The depths take turns on every
 * question, so that a change of the machine's pace meets all of them.
 */
export async function evaluate(model: Model, options: EvaluateOptions): Promise<EvalReport> {
  const { hyperparameters: h } = model
  const depths = await depthNames(model, options.depths, options.signal)
  const groups = options.tasks.flatMap((task) =>
    options.shots.map(
      (shots): Group => ({
        task,
        shots,
        window: trainedWindow(model.name),
        ...questionsOf(model, task, questionOptions(options, shots)),
      }),
    ),
  )
  const size = modelSize(h, familyByArchitecture(h.architecture, model.path).tensors(h))
  const traced = options.controls && options.score === 'token'
  const remember = createMemory(options, answersInAll(groups, depths, traced))
  const cells: EvalCell[] = []
  const asked: { group: Group; name: string; asked: Asked[] }[] = []
  const traces: TraceInstance[] = []
  for (const [g, group] of groups.entries()) {
    const byDepth = new Map<string, Asked[]>(depths.map(({ name }) => [name, []]))
    const { task, shots } = group
    const asking: AskOptions = {
      ...questionOptions(options, shots),
      positions: 'answer',
      ...(options.signal && { signal: options.signal }),
    }
    const records: QuestionRecord[] = []
    let warm = false
    for (const [i, question] of group.questions.entries()) {
      const { answers, record } = await remember({ group: g, question: i, control: null }, async () => {
        // The first question also builds graphs: it is asked once more, and only the second time counts.
        if (!warm) await askInTurn(model, group, question, depths, options, i)
        warm = true
        const given = await askInTurn(model, group, question, depths, options, i)
        const planned = { ...question, task, draw: 0, input: task.items[question.index]!.input }
        return { answers: given, record: traced ? await askQuestion(model, planned, asking) : null }
      })
      const full = answers.get('full') as Answer
      for (const { name } of depths) {
        byDepth.get(name)?.push({ question, answer: answers.get(name) as Answer, full })
      }
      if (record !== null) records.push(record)
    }
    if (group.questions.length === 0) continue
    for (const depth of depths) {
      const of = byDepth.get(depth.name) as Asked[]
      cells.push(cell(group, depth, of, size, options))
      asked.push({ group, name: depth.name, asked: of })
    }
    if (records.length > 0) {
      const groupTraces = traceSetOf(records, questionFacts(model, [task], asking))
      traces.push(...groupTraces.instances)
      const full = byDepth.get('full') as Asked[]
      const ask = (question: number, control: string, given: () => Promise<ReadonlyMap<string, Answer>>) =>
        remember({ group: g, question, control }, async () => ({ answers: await given(), record: null }))
      const controls = await controlsOf(model, task, full, groupTraces, byDepth, depths, { ...options, ask })
      for (const control of controls) {
        cells.push(cell(group, control.depth, control.asked, size, options))
        asked.push({ group, name: control.depth.name, asked: control.asked })
      }
    }
  }
  const first = groups[0]
  return {
    model: model.name,
    quantization: model.quantization,
    layers: h.layers,
    parameters: model.parameters,
    score: options.score,
    seed: options.seed,
    date: new Date().toISOString(),
    machine: machineName(),
    cells,
    overall: first === undefined ? [] : overall(asked, depths, size, options),
    curves: curvesOf(traces),
    matrix: null,
    generation: null,
    notes: notesOn(depths, options),
  }
}

/** What a reader of the cells must know. */
function notesOn(depths: readonly DepthName[], { score }: EvaluateOptions): string[] {
  return depths.flatMap(({ name, policy }) => {
    if (policy?.kind !== 'skip') return []
    const { speedup, everyToken } = policy
    const notes: string[] = []
    if (speedup !== undefined && everyToken !== undefined) {
      notes.push(
        `${name}: layers:${everyToken.join(',')}, predicted to decode ${speedup.predicted.toFixed(2)} times as fast as full depth on this machine`,
      )
    }
    if (policy.prompt === 'full' && (score === 'token' || score === 'labels')) {
      notes.push(
        `${name}: the prompt runs every layer, and an answer of --score ${score} comes from the prompt, so it is full depth's; prompt=plan skips layers of the prompt too`,
      )
    }
    return notes
  })
}

/** Of all questions: one under each depth, and what the controls need. */
function answersInAll(groups: readonly Group[], depths: readonly DepthName[], traced: boolean): number {
  const controls = depths.reduce((sum, depth) => sum + askedControls(depth), 0)
  // A trace, and controls beside full depth.
  const each = depths.length + (traced ? 1 + 2 * controls : 0)
  return groups.reduce((sum, { questions }) => sum + questions.length * each, 0)
}

/** Asks what is not kept yet, keeps it, and says how far things are. */
function createMemory({ kept, onProgress }: EvaluateOptions, total: number) {
  let done = 0
  let before = 0
  return async (key: QuestionKey, ask: () => Promise<KeptAnswers>): Promise<KeptAnswers> => {
    const known = kept?.recall(key)
    const given = known ?? (await ask())
    if (known === undefined) kept?.append(key, given)
    const count = given.answers.size + (given.record === null ? 0 : 1)
    done += count
    if (known !== undefined) before += count
    onProgress?.(done, total, before)
    return given
  }
}

function questionOptions(options: EvaluateOptions, shots: number) {
  const { seed, score, limit, template, maxTokens } = options
  return {
    shots,
    seed,
    score,
    maxTokens,
    ...(limit === undefined ? {} : { limit }),
    ...(template === undefined ? {} : { template }),
  }
}

async function askInTurn(
  model: Model,
  { task }: Group,
  question: Question,
  depths: readonly DepthName[],
  options: EvaluateOptions,
  turn: number,
): Promise<Map<string, Answer>> {
  const { score, maxTokens, signal, template } = options
  const { stop } = parseTemplate(template ?? DEFAULT_TEMPLATE)
  const ask = (depth: DepthName) =>
    answer(model, task, question, depth.policy ?? 'full', {
      score,
      maxTokens,
      stop,
      ...(signal === undefined ? {} : { signal }),
    })
  const answers = new Map<string, Answer>()
  for (let i = 0; i < depths.length; i++) {
    const depth = depths[(i + turn) % depths.length] as DepthName
    answers.set(depth.name, await ask(depth))
  }
  return answers
}

function cell(
  group: Group,
  depth: DepthName,
  asked: readonly Asked[],
  size: ModelSize,
  options: EvaluateOptions,
): EvalCell {
  const { task, shots, skipped, window } = group
  return cellOf({ task: task.name, group: task.group, shots, skipped, window }, depth, asked, size, options.seed)
}

/** Every depth over all tasks with the same number of shots. */
function overall(
  all: readonly { group: Group; name: string; asked: Asked[] }[],
  depths: readonly DepthName[],
  size: ModelSize,
  options: EvaluateOptions,
): EvalCell[] {
  const names = [...new Set(all.map(({ name }) => name))]
  return options.shots.flatMap((shots) =>
    names.flatMap((name) => {
      const of = all.filter((a) => a.name === name && a.group.shots === shots)
      if (of.length === 0) return []
      const depth = depths.find((d) => d.name === name) ?? { name, policy: null }
      const skipped = of.reduce((sum, { group }) => sum + group.skipped, 0)
      return [
        cellOf(
          { task: 'overall', group: 'overall', shots, skipped, window: (of[0] as (typeof of)[0]).group.window },
          depth,
          of.flatMap(({ asked }) => asked),
          size,
          options.seed,
        ),
      ]
    }),
  )
}
