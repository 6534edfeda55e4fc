import { setImmediate } from 'node:timers/promises'
import { crossFit } from '../calibrate/cross-fit.js'
import { type FitOptions, plannedChecks } from '../calibrate/fit.js'
import { outcomes } from '../calibrate/outcomes.js'
import { countQuestions } from '../calibrate/split.js'
import type { Target } from '../calibrate/threshold.js'
import { pooledTraces, type TraceSet } from '../calibrate/traces.js'
import { type Checks, transferChecks, transferPolicy } from '../calibrate/transfer.js'
import type { PolicyFile } from '../depth/policy-file.js'
import { InputError } from '../errors.js'
import { pairedBootstrap, SHARE_DIFFERENCE } from './bootstrap.js'
import { matrixNotes } from './matrix-notes.js'
import type { ModelShape, Part, TracedModel, TracedTask } from './matrix-traces.js'
import type { GeneralisationMatrix, Interval, MatrixColumn, MatrixRow } from './result.js'

export type MatrixFit = Omit<FitOptions, 'model' | 'created' | 'threshold'>

export interface MatrixOptions {
  /** Of every classifier; checked layers are those of the first model. */
  readonly fit: MatrixFit
  /** As people write it, for the report. */
  readonly policy: string
  readonly target: Target
  readonly shots: number
  /** Of the bootstrap. */
  readonly seed: number
  /** Beside those that the traces give rise to. */
  readonly notes?: readonly string[]
  readonly signal?: AbortSignal
  /** Rows so far, of how many. */
  readonly onProgress?: (done: number, total: number) => void
}

/**
 * Which layers are checked in each model; the options' own are meant for the first.
 * @throws InputError where the options contradict each other, or a policy for one model makes no sense on another
 */
export function matrixChecks(fit: MatrixFit, models: readonly [ModelShape, ...ModelShape[]]): (readonly number[])[] {
  const [first] = models
  const { features, checked } = plannedChecks(fit, first.layers)
  const other = models.find(({ vocabulary }) => vocabulary !== first.vocabulary)
  if ((fit.tokens ?? 0) > 0 && other !== undefined) {
    throw new InputError(
      `tokens=${fit.tokens} tells the tokens of one vocabulary apart, and ${first.name} and ${other.name} have different ones`,
    )
  }
  const checks: Checks = { kind: fit.kind, features, per_layer: fit.perLayer ?? false, checked_layers: checked }
  const all = models.map(({ layers }) => transferChecks(checks, first.layers, layers))
  for (const [i, own] of all.entries()) {
    for (const { layers } of models) transferChecks({ ...checks, checked_layers: own }, models[i]!.layers, layers)
  }
  return all
}

/** What a row's classifier is trained on. */
interface Training {
  readonly model: TracedModel
  readonly group: string
  readonly tasks: readonly TracedTask[]
  readonly layers: readonly number[]
}

interface Fitted {
  readonly policy: PolicyFile | null
  /** Why there is none. */
  readonly reason: string
}

/**
 * Trains a classifier on each task, and on each group's tasks pooled, chooses its threshold over random splits of the same
 * prompts, and tries it on the test prompts of every task (AdaInfer, arXiv 2403.02181: within and across task groups and
 * models). An exit in full-depth traces gives exactly that layer's answer, so nothing is run again.
 * @throws InputError where no classifier can be fitted at all, or one for one model makes no sense on another
 */
export async function generalisationMatrix(
  models: readonly [TracedModel, ...TracedModel[]],
  options: MatrixOptions,
): Promise<GeneralisationMatrix> {
  const checks = matrixChecks(options.fit, models)
  const several = models.length > 1
  const trainings = models.flatMap((model, m) => trainingsOf(model, checks[m]!))
  const columns = models.flatMap((model) =>
    inGroups(model.tasks).flatMap(({ tasks }) => tasks.map((task) => ({ model, task }))),
  )
  const rows: MatrixRow[] = []
  const figures: ReturnType<typeof tryOn>[][] = []
  const failures: string[] = []
  const unreached: string[] = []
  for (const training of trainings) {
    // Fits do not wait for anything: without this, Ctrl-C would be heard after the last of them only.
    await setImmediate()
    options.signal?.throwIfAborted()
    const { policy, reason } = train(training, options)
    const row = rowOf(training, policy, several)
    if (policy === null) failures.push(`${row.name}: ${reason}`)
    else if (policy.threshold === null) unreached.push(row.name)
    rows.push(row)
    figures.push(columns.map(({ task }) => tryOn(policy, task.parts.test, options.seed)))
    options.onProgress?.(rows.length, trainings.length)
  }
  if (failures.length === rows.length) throw new InputError(failures[0] ?? 'there are no tasks')
  const each = <T>(of: (cell: ReturnType<typeof tryOn>) => T): T[][] => figures.map((row) => row.map(of))
  return {
    policy: options.policy,
    target: `${options.target.kind}=${options.target.value}`,
    shots: options.shots,
    train: rows,
    test: columns.map(({ model, task }) => columnOf(model, task, several)),
    accuracy: each(({ accuracy }) => accuracy),
    accuracyDifference: each(({ difference }) => difference),
    agreement: each(({ agreement }) => agreement),
    depthMean: each(({ meanLayers }) => meanLayers),
    notes: [...(options.notes ?? []), ...matrixNotes(models, options, { failures, unreached })],
  }
}

/** Tasks by group, in the order in which groups are first met. */
function inGroups(tasks: readonly TracedTask[]): { group: string; tasks: TracedTask[] }[] {
  return [...new Set(tasks.map(({ group }) => group))].map((group) => ({
    group,
    tasks: tasks.filter((task) => task.group === group),
  }))
}

/** Every task, and after those of a group all of them together. */
function trainingsOf(model: TracedModel, layers: readonly number[]): Training[] {
  return inGroups(model.tasks).flatMap(({ group, tasks }) =>
    [...tasks.map((task) => [task]), ...(tasks.length > 1 ? [tasks] : [])].map((own) => ({
      model,
      group,
      tasks: own,
      layers,
    })),
  )
}

function pool({ tasks }: Training, part: Part): TraceSet {
  return pooledTraces(tasks.map(({ parts }) => parts[part]))
}

/** A task may give nothing to fit (every layer agrees already); the other rows stand nevertheless. */
function train(training: Training, { fit: fitOptions, target }: MatrixOptions): Fitted {
  const { name, fingerprint } = training.model
  const options: FitOptions = { ...fitOptions, layers: training.layers, model: { name, fingerprint } }
  try {
    return { policy: crossFit(pool(training, 'train'), options, target).policy, reason: '' }
  } catch (error) {
    if (!(error instanceof InputError)) throw error
    return { policy: null, reason: error.message }
  }
}

function rowOf(training: Training, policy: PolicyFile | null, several: boolean): MatrixRow {
  const { model, group, tasks } = training
  return {
    name: named(tasks.length === 1 ? tasks[0]!.task : `all of ${group}`, model, several),
    model: model.name,
    group,
    tasks: tasks.map(({ task }) => task),
    trained: tasks.reduce((sum, { parts }) => sum + countQuestions(parts.train), 0),
    threshold: policy?.threshold ?? null,
    splits: policy?.calibration?.splits ?? null,
  }
}

function columnOf(model: TracedModel, { task, group, parts }: TracedTask, several: boolean): MatrixColumn {
  const { layers, instances } = parts.test
  const { accuracy } = outcomes(parts.test, 'full')
  if (accuracy === null) throw new InputError('the matrix needs traces with the gold answer of every question')
  return {
    name: named(task, model, several),
    model: model.name,
    group,
    task,
    layers,
    prompts: instances.length,
    accuracy,
  }
}

function named(name: string, model: TracedModel, several: boolean): string {
  return several ? `${name} · ${model.name}` : name
}

function tryOn(policy: PolicyFile | null, test: TraceSet, seed: number) {
  if (policy === null) {
    const none: Interval = { mean: Number.NaN, low: Number.NaN, high: Number.NaN, n: 0 }
    return { accuracy: Number.NaN, difference: none, agreement: Number.NaN, meanLayers: Number.NaN }
  }
  const { accuracy, agreement, meanLayers, right, fullRight } = outcomes(test, transferPolicy(policy, test.layers))
  const difference = pairedBootstrap(right!, fullRight!, { seed, range: SHARE_DIFFERENCE })
  return { accuracy: accuracy!, difference, agreement, meanLayers }
}
