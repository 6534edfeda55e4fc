import { join } from 'node:path'
import { type AskOptions, drawnForTraining, planQuestions, questionFacts, traceQuestions } from '../../calibrate/ask.js'
import { crossFit } from '../../calibrate/cross-fit.js'
import { splitsText } from '../../calibrate/explain.js'
import { fitPolicy } from '../../calibrate/fit.js'
import type { ExitRule } from '../../calibrate/outcomes.js'
import { answerSettings, DEFAULT_TARGET, DRAWS, PAPER_FITS } from '../../calibrate/settings.js'
import { countQuestions, createSplit } from '../../calibrate/split.js'
import { selectTraces, type TraceSet } from '../../calibrate/traces.js'
import { digest } from '../../checkpoint/journal.js'
import { makeFolder } from '../../checkpoint/make-folder.js'
import { adainferPolicy } from '../../depth/adainfer.js'
import type { PolicyFile } from '../../depth/policy-file.js'
import { parseDepth } from '../../depth/spec.js'
import type { Model } from '../../engine/api.js'
import { InputError } from '../../errors.js'
import { familyByArchitecture } from '../../families/index.js'
import type { Question } from '../../tasks/index.js'
import { cellOf, type DepthName, tracedAnswers } from '../cells.js'
import { type ModelSize, modelSize } from '../cost.js'
import { PARTS, type Part } from '../matrix-traces.js'
import type { EvalCell } from '../result.js'
import { trainedWindow } from '../trained-window.js'
import type { TaskSet } from './sets.js'

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

/** The questions of a set with one number of shots, what they are for, and their traces. */
export interface Asking {
  readonly questions: readonly Question[]
  /** In the order of the questions. */
  readonly parts: readonly Part[]
  readonly skipped: number
  /** Null where there are no questions. */
  readonly traces: TraceSet | null
}

/** The rules on every set and number of shots, from full-depth traces: an exit gives exactly that layer's answer. */
export async function reproduceAdaInfer(model: Model, options: ReproduceOptions): Promise<ReproducedCell[]> {
  const { hyperparameters: h } = model
  const size = modelSize(h, familyByArchitecture(h.architecture, model.path).tensors(h))
  const cells: ReproducedCell[] = []
  for (const set of options.sets) {
    for (const shots of options.shots) {
      options.signal?.throwIfAborted()
      const asking = await askSet(model, set, shots, options)
      const { name, quantization } = model
      const about = { model: name, quantization, layers: h.layers, set: set.name, group: set.group, shots }
      cells.push(...ruleCells(about, asking, size, options.seed))
    }
  }
  return cells
}

/**
 * Traces come from the work folder as far as they are there, else are made and kept there. The name of the file depends on
 * everything that a question's answer does, so one folder serves all runs.
 */
async function askSet(
  model: Model,
  { name, tasks }: TaskSet,
  shots: number,
  options: ReproduceOptions,
): Promise<Asking> {
  const { seed, template, signal, work, onQuestions } = options
  const asking: AskOptions = {
    shots,
    draws: DRAWS,
    seed,
    positions: 'answer',
    maxTokens: 1,
    ...(template === undefined ? {} : { template }),
    ...(signal === undefined ? {} : { signal }),
  }
  const planned = planQuestions(model, tasks, asking)
  const skipped = planned.skipped.reduce((sum, n) => sum + n, 0)
  onQuestions?.(skipped, false)
  // All tasks at once, so that of a few questions each not all are of the same part.
  const split = createSplit(PARTS, seed)
  split(tasks.flatMap(({ items }) => items.map(({ input }) => input)))
  const questions = drawnForTraining(planned.questions, split)
  const parts = split(questions.map(({ input }) => input))
  if (questions.length === 0) return { questions, parts, skipped, traces: null }
  const words = `${model.name}-${name}`.replace(/[^\w.-]+/g, '_').slice(-80)
  await makeFolder(work)
  const path = join(work, `${words}-${shots}-${digest(questionFacts(model, tasks, asking)).slice(0, 12)}.jsonl`)
  let known = 0
  const traces = await traceQuestions(model, tasks, questions, asking, {
    path,
    onProgress(_done, _total, before) {
      onQuestions?.(1, before === known)
      known = before
    },
  })
  return { questions, parts, skipped, traces }
}

/** The rules on one set. */
export function ruleCells(
  about: Pick<ReproducedCell, 'model' | 'quantization' | 'layers' | 'set' | 'group' | 'shots'>,
  { questions, parts, skipped, traces }: Asking,
  size: ModelSize,
  seed: number,
): ReproducedCell[] {
  const none = { trained: 0, threshold: null, result: null }
  const empty = (rule: Rule, note: string): ReproducedCell => ({ ...about, ...none, rule, note })
  if (traces === null) return RULES.map((rule) => empty(rule, 'no question fits the context'))
  const part = (wanted: Part): TraceSet => selectTraces(traces, (i) => parts[i] === wanted)
  const [train, test] = [part('train'), part('test')]
  if (train.sequences === 0 || test.sequences === 0) {
    return RULES.map((rule) => empty(rule, `${traces.sequences} questions are too few to be divided into parts`))
  }
  const asked = questions.filter((_, i) => parts[i] === 'test')
  const key = { task: about.set, group: about.group, shots: about.shots, skipped, window: trainedWindow(about.model) }
  const result = (depth: DepthName, exitRule: ExitRule): EvalCell =>
    cellOf(key, depth, tracedAnswers(asked, test, exitRule), size, seed)
  return RULES.map((rule): ReproducedCell => {
    if (rule === 'full') {
      return { ...about, ...none, rule, result: result({ name: rule, policy: null }, rule), note: null }
    }
    if (rule === 'gap:0.8') {
      const policy = parseDepth(rule, { layers: about.layers })
      return { ...about, ...none, rule, result: result({ name: rule, policy }, { gap: 0.8 }), note: null }
    }
    const file = fitted(rule, train)
    if (typeof file === 'string') return empty(rule, file)
    return {
      ...about,
      rule,
      trained: countQuestions(train),
      threshold: file.threshold,
      result: result({ name: rule, policy: adainferPolicy(file, rule) }, file),
      note: thresholdNote(file),
    }
  })
}

/** What a reader must know of how the threshold was chosen, and what it gives on the questions of other splits. */
function thresholdNote({ threshold, calibration, model }: PolicyFile): string | null {
  if (threshold === null) return 'every threshold lost more than a point where it was chosen: full depth'
  return calibration?.splits ? splitsText(calibration.splits, model.layers) : null
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
