import { applyPolicy } from '../../calibrate/apply.js'
import { type PlannedQuestion, planQuestions } from '../../calibrate/ask.js'
import { crossFit } from '../../calibrate/cross-fit.js'
import { fitPolicy } from '../../calibrate/fit.js'
import { answerSettings, DEFAULT_TARGET, gapExits, PAPER_FITS } from '../../calibrate/settings.js'
import type { TraceSet } from '../../calibrate/traces.js'
import { adainferPolicy } from '../../depth/adainfer.js'
import type { PolicyFile } from '../../depth/policy-file.js'
import { parseDepth } from '../../depth/spec.js'
import type { Model } from '../../engine/api.js'
import { InputError } from '../../errors.js'
import { familyByArchitecture } from '../../families/index.js'
import type { Question } from '../../tasks/index.js'
import { type Asked, cellOf, type DepthName } from '../cells.js'
import { type ModelSize, modelSize } from '../cost.js'
import { createSplit, type Part } from '../matrix-traces.js'
import type { EvalCell } from '../result.js'
import { trainedWindow } from '../trained-window.js'
import type { TaskSet } from './sets.js'
import { keptTraces } from './traces.js'

/** Full depth, the paper's exit rules, and classifiers whose threshold was chosen for an accuracy. */
export const RULES = ['full', 'gap:0.8', 'paper-svm', 'paper-crf', 'adainfer-svm', 'adainfer-crf'] as const
export type Rule = (typeof RULES)[number]

/** What one rule did on one set with one number of shots. */
export interface ReproducedCell {
  readonly model: string
  readonly quantization: string
  /** L. */
  readonly layers: number
  readonly set: string
  readonly group: string
  readonly shots: number
  readonly rule: Rule
  /** Questions that the classifier was fitted on, and its threshold chosen on; 0 for rules without one. */
  readonly trained: number
  /** Null for rules without one, and where none reached the target. */
  readonly threshold: number | null
  /** Null where there is nothing to say; `note` says why. */
  readonly result: EvalCell | null
  readonly note: string | null
}

export interface ReproduceOptions {
  readonly sets: readonly TaskSet[]
  readonly shots: readonly number[]
  /** Of shots, of the division into parts and of the bootstrap. */
  readonly seed: number
  /** Folder of the traces. */
  readonly work: string
  readonly template?: string
  readonly signal?: AbortSignal
  /** Called for questions that are done with; `traced` is false where their traces were there, or none are needed. */
  readonly onQuestions?: (count: number, traced: boolean) => void
}

/** The questions of a set with one number of shots, and what they are for. */
export interface Asking<Q extends Question = Question> {
  readonly questions: readonly Q[]
  readonly parts: readonly Part[]
  readonly skipped: number
}

/** The rules on every set and number of shots, from full-depth traces: an exit gives exactly that layer's answer. */
export async function reproduceAdaInfer(model: Model, options: ReproduceOptions): Promise<ReproducedCell[]> {
  const { hyperparameters: h } = model
  const size = modelSize(h, familyByArchitecture(h.architecture, model.path).tensors(h))
  const cells: ReproducedCell[] = []
  for (const set of options.sets) {
    for (const shots of options.shots) {
      options.signal?.throwIfAborted()
      const asking = askSet(model, set, shots, options)
      const { name, quantization } = model
      const about = { model: name, quantization, layers: h.layers, set: set.name, group: set.group, shots }
      options.onQuestions?.(asking.skipped, false)
      const traces = await keptTraces(model, set, shots, asking.questions, options)
      cells.push(...ruleCells(about, asking, traces, size, options.seed))
    }
  }
  return cells
}

function askSet(
  model: Model,
  { tasks }: TaskSet,
  shots: number,
  { seed, template }: ReproduceOptions,
): Asking<PlannedQuestion> {
  const { questions, skipped } = planQuestions(model, tasks, {
    shots,
    seed,
    positions: 'answer',
    maxTokens: 1,
    ...(template === undefined ? {} : { template }),
  })
  // All tasks at once, so that of a few questions each not all are of the same part.
  const split = createSplit(seed)
  split(tasks.flatMap(({ items }) => items.map(({ input }) => input)))
  const parts = split(questions.map(({ task, index }) => task.items[index]!.input))
  return { questions, parts, skipped: skipped.reduce((sum, n) => sum + n, 0) }
}

/**
 * The rules on one set.
 * @param traces of all questions at full depth, in order; null where there are none
 */
export function ruleCells(
  about: Pick<ReproducedCell, 'model' | 'quantization' | 'layers' | 'set' | 'group' | 'shots'>,
  { questions, parts, skipped }: Asking,
  traces: TraceSet | null,
  size: ModelSize,
  seed: number,
): ReproducedCell[] {
  const none = { trained: 0, threshold: null, result: null }
  const empty = (rule: Rule, note: string): ReproducedCell => ({ ...about, ...none, rule, note })
  if (traces === null) return RULES.map((rule) => empty(rule, 'no question fits the context'))
  const part = (wanted: Part): TraceSet => {
    const instances = traces.instances.filter((_, i) => parts[i] === wanted)
    return { ...traces, instances, sequences: instances.length }
  }
  const [train, test] = [part('train'), part('test')]
  if (train.sequences === 0 || test.sequences === 0) {
    return RULES.map((rule) => empty(rule, `${traces.sequences} questions are too few to be divided into parts`))
  }
  const asked = questions.filter((_, i) => parts[i] === 'test')
  const key = { task: about.set, group: about.group, shots: about.shots, skipped, window: trainedWindow(about.model) }
  const result = (depth: DepthName, exits: readonly number[]): EvalCell =>
    cellOf(
      key,
      depth,
      asked.map((question, i) => answered(question, test, i, exits[i] as number)),
      size,
      seed,
    )
  return RULES.map((rule): ReproducedCell => {
    if (rule === 'full') {
      const exits = asked.map(() => about.layers - 1)
      return { ...about, ...none, rule, result: result({ name: rule, policy: null }, exits), note: null }
    }
    if (rule === 'gap:0.8') {
      const policy = parseDepth(rule, { layers: about.layers })
      return { ...about, ...none, rule, result: result({ name: rule, policy }, gapExits(test, 0.8)), note: null }
    }
    const file = fitted(rule, train)
    if (typeof file === 'string') return empty(rule, file)
    const exits = applyPolicy(file, test).map(({ exit }) => exit)
    return {
      ...about,
      rule,
      trained: train.sequences,
      threshold: file.threshold,
      result: result({ name: rule, policy: adainferPolicy(file, rule) }, exits),
      note: thresholdNote(file),
    }
  })
}

/** What a reader must know of how the threshold was chosen. */
function thresholdNote({ threshold }: PolicyFile): string | null {
  return threshold === null ? 'every threshold lost more than a point where it was chosen: full depth' : null
}

/** A classifier, the paper's at its own boundary and the others with a threshold, or why there is none. */
function fitted(rule: Exclude<Rule, 'full' | 'gap:0.8'>, train: TraceSet): PolicyFile | string {
  try {
    if (rule === 'paper-svm' || rule === 'paper-crf') return fitPolicy(train, PAPER_FITS[rule])
    return crossFit(train, { ...answerSettings(rule), kind: rule }, DEFAULT_TARGET).policy
  } catch (error) {
    // Such as: every layer agrees with the last one on all questions, or full depth is right nowhere.
    if (error instanceof InputError) return error.message
    throw error
  }
}

function answered(question: Question, { instances, layers }: TraceSet, i: number, exit: number): Asked {
  const { agree, correct } = instances[i] as TraceSet['instances'][number]
  const at = (layer: number) => {
    const right = correct?.[layer] ?? 0
    const own = { correct: right, f1: null, choice: agree[layer] as number, depth: layer + 1, runs: [[layer + 1]] }
    return { ...own, ms: Number.NaN, checkMs: 0 }
  }
  return { question, answer: at(exit), full: at(layers - 1) }
}
