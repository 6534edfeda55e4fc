import { applyPolicy } from '../../calibrate/apply.js'
import { type FitOptions, fitPolicy } from '../../calibrate/fit.js'
import { calibrateThreshold, type Target } from '../../calibrate/threshold.js'
import type { TraceSet } from '../../calibrate/traces.js'
import { adainferPolicy } from '../../depth/adainfer.js'
import type { PolicyFile } from '../../depth/policy-file.js'
import { parseDepth } from '../../depth/spec.js'
import type { Model } from '../../engine/api.js'
import { InputError } from '../../errors.js'
import { familyByArchitecture } from '../../families/index.js'
import { type Question, questionsOf } from '../../tasks/index.js'
import { type Asked, cellOf, type DepthName } from '../cells.js'
import { type ModelSize, modelSize } from '../cost.js'
import { createSplit, type Part } from '../matrix-traces.js'
import type { EvalCell } from '../result.js'
import { trainedWindow } from '../trained-window.js'
import type { TaskSet } from './sets.js'
import { keptTraces } from './traces.js'

/** The paper's exit rules, and full depth. */
export const RULES = ['full', 'gap:0.8', 'adainfer-svm', 'adainfer-crf'] as const
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
  /** Questions that the classifier was fitted on and that its threshold was chosen on; 0 for rules without one. */
  readonly fitted: number
  readonly chosen: number
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

/** What is fitted; the paper publishes the features and no more. */
const FITS: Readonly<Record<'adainfer-svm' | 'adainfer-crf', FitOptions>> = {
  'adainfer-svm': { kind: 'adainfer-svm', features: ['gap', 'top_prob'], label: 'agreement', kernel: 'linear', C: 1 },
  'adainfer-crf': { kind: 'adainfer-crf', features: ['gap', 'top_prob'], label: 'agreement', c2: 0.1 },
}

/** The threshold of both classifiers: the paper gives no rule, and at its own boundary a classifier leaves far too early. */
export const TARGET: Target = { kind: 'accuracy-loss', value: 0.01 }

/** The questions of a set with one number of shots, and what they are for. */
export interface Asking {
  readonly questions: readonly Question[]
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
      const traces = await keptTraces(model, set, shots, asking.questions.length, options)
      cells.push(...ruleCells(about, asking, traces, size, options.seed))
    }
  }
  return cells
}

function askSet(model: Model, { tasks }: TaskSet, shots: number, { seed, template }: ReproduceOptions): Asking {
  // All tasks at once, so that of a few questions each not all are of the same part.
  const parts = createSplit(seed)(tasks.flatMap(({ items }) => items.map(({ input }) => input)))
  const questions: Question[] = []
  const own: Part[] = []
  let skipped = 0
  let before = 0
  for (const task of tasks) {
    const more = template === undefined ? {} : { template }
    const asked = questionsOf(model, task, { shots, seed, score: 'token', ...more })
    skipped += asked.skipped
    for (const question of asked.questions) {
      questions.push(question)
      own.push(parts[before + question.index] as Part)
    }
    before += task.items.length
  }
  return { questions, parts: own, skipped }
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
  const none = { fitted: 0, chosen: 0, threshold: null, result: null }
  const empty = (rule: Rule, note: string): ReproducedCell => ({ ...about, ...none, rule, note })
  if (traces === null) return RULES.map((rule) => empty(rule, 'no question fits the context'))
  const part = (wanted: Part): TraceSet => {
    const instances = traces.instances.filter((_, i) => parts[i] === wanted)
    return { ...traces, instances, sequences: instances.length }
  }
  const [fit, choose, test] = [part('fit'), part('threshold'), part('test')]
  if (fit.sequences === 0 || choose.sequences === 0) {
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
    const file = fitted(rule, fit, choose)
    if (typeof file === 'string') return empty(rule, file)
    const exits = applyPolicy(file, test).map(({ exit }) => exit)
    return {
      ...about,
      rule,
      fitted: fit.sequences,
      chosen: choose.sequences,
      threshold: file.threshold,
      result: result({ name: rule, policy: adainferPolicy(file, rule) }, exits),
      note: thresholdNote(file),
    }
  })
}

/** What a reader must know of how the threshold was chosen. */
function thresholdNote({ threshold, calibration }: PolicyFile): string | null {
  if (threshold === null) return 'every threshold lost more than a point where it was chosen: full depth'
  return calibration?.full_accuracy === 0 ? 'full depth was right nowhere where the threshold was chosen' : null
}

/** The paper's classifier with its threshold, or why there is none. */
function fitted(kind: 'adainfer-svm' | 'adainfer-crf', fit: TraceSet, choose: TraceSet): PolicyFile | string {
  try {
    return calibrateThreshold(fitPolicy(fit, FITS[kind]), choose, TARGET)
  } catch (error) {
    // Such as: every layer agrees with the last one on all questions.
    if (error instanceof InputError) return error.message
    throw error
  }
}

function gapExits({ instances, layers }: TraceSet, threshold: number): number[] {
  return instances.map(({ features }) => {
    const exit = features.gap?.findIndex((gap, layer) => layer === layers - 1 || gap > threshold)
    return exit ?? layers - 1
  })
}

function answered(question: Question, { instances, layers }: TraceSet, i: number, exit: number): Asked {
  const { agree, correct } = instances[i] as TraceSet['instances'][number]
  const at = (layer: number) => {
    const right = correct?.[layer] ?? 0
    return { correct: right, f1: right, choice: agree[layer] as number, depth: layer + 1, ms: Number.NaN, checkMs: 0 }
  }
  return { question, answer: at(exit), full: at(layers - 1) }
}
