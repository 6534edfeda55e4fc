import { type Command, Option } from 'commander'
import type { Target } from '../calibrate/threshold.js'
import { baseModels } from '../convert/lineage.js'
import { DEFAULT_MODEL } from '../convert/package.js'
import { POLICY_KINDS, type PolicyKind } from '../depth/policy-file.js'
import type { Model } from '../engine/api.js'
import { printable } from '../errors.js'
import { machineName } from '../evaluate/machine.js'
import { generalisationMatrix, type MatrixFit, matrixChecks } from '../evaluate/matrix.js'
import { type MatrixFile, openMatrixFile } from '../evaluate/matrix-file.js'
import {
  createSplit,
  type KeptTraces,
  type Split,
  shapeOf,
  type TracedModel,
  traceParts,
} from '../evaluate/matrix-traces.js'
import { relativesNote } from '../evaluate/relatives.js'
import { reportJson } from '../evaluate/report/json.js'
import { fullDepthCell, MATRIX_KEY, matrixCell } from '../evaluate/report/matrix-tables.js'
import { reportPaths } from '../evaluate/report/write.js'
import type { EvalReport, GeneralisationMatrix } from '../evaluate/result.js'
import type { ScoreMode, Task } from '../tasks/index.js'
import { DEFAULT_TARGET, parseSettings, parseTarget } from './calibrate-settings.js'
import { type Cli, note, printJson, UsageError } from './cli.js'
import { fetchNamed } from './loading-line.js'
import { type ModelOptions, withModel } from './model-options.js'
import { bar, createProgressLine } from './progress-line.js'
import { type ReportOptions, writeReportFiles } from './report-files.js'
import { printTable } from './table.js'
import { loadTasks, type TaskOptions, templateOf, timeLeft } from './task-options.js'
import { collect } from './values.js'

/** What is kept of a model that is closed again. */
type Opened = Pick<Model, 'name' | 'quantization' | 'fingerprint' | 'hyperparameters' | 'parameters'>

/** Options that only `--matrix` has. */
export interface MatrixOptions {
  readonly matrix?: boolean
  readonly against?: string
  readonly policy?: PolicyKind
  readonly set?: readonly string[]
  readonly target?: Target
}

export interface EvalMatrixOptions extends MatrixOptions, ModelOptions, TaskOptions, ReportOptions {
  readonly tasks: readonly string[]
  readonly shots: readonly number[]
  readonly depth?: readonly string[]
  readonly score: ScoreMode
  readonly controls: boolean
}

type OneShots = Omit<EvalMatrixOptions, 'shots'> & { readonly shots: number }

export function addMatrixOptions(command: Command): Command {
  return command
    .option('--matrix', 'train a classifier on each task and try it on every task')
    .option('--against <model>', 'with --matrix: a second model; classifiers of each are tried on both')
    .addOption(
      new Option('--policy <kind>', 'with --matrix: what is fitted; default adainfer-svm').choices(POLICY_KINDS),
    )
    .option('--set <key=value>', 'with --matrix: a setting, as of calibrate (may be given several times)', collect)
    .option('--target <what>', 'with --matrix: as of calibrate; default accuracy-loss=0.01', parseTarget)
}

/** What `--matrix` alone takes is wrong without it. */
export function refuseMatrixOptions({ against, policy, set, target }: MatrixOptions): void {
  for (const [option, value] of Object.entries({ against, policy, set, target })) {
    if (value !== undefined) throw new UsageError(`--${option} goes with --matrix`)
  }
}

/** `shoal eval --matrix`: how classifiers generalise across tasks, and across two models. */
export async function evalMatrix(cli: Cli, name: string | undefined, options: EvalMatrixOptions): Promise<void> {
  const shots = checkUsage(options)
  const { checkTokens, ...settings } = parseSettings(options.set ?? [])
  if (checkTokens !== undefined) throw new UsageError('--set check-tokens: the matrix is made with the whole head')
  const { policy: kind = 'adainfer-svm' } = options
  if (settings.threshold !== undefined) throw new UsageError('--matrix chooses thresholds: leave --set threshold= out')
  const { threshold: _, ...rest } = settings
  const fit: MatrixFit = { ...rest, kind }
  const tasks = await loadTasks(options.tasks, options)
  const twice = tasks.find((task, i) => tasks.findIndex((other) => other.name === task.name) < i)
  if (twice !== undefined) throw new UsageError(`two of the tasks are called ${twice.name}`)

  const split = createSplit(options.seed)
  const sources: string[] = []
  for (const source of [name, ...(options.against === undefined ? [] : [options.against])]) {
    sources.push(await fetchNamed(cli, source ?? DEFAULT_MODEL, options))
  }
  const { revision: _revision, ...loading } = options
  const lineages: string[][] = []
  for (const source of sources) lineages.push(await baseModels(source))
  // Learned before hours of tracing where a policy may make no sense on the second model.
  const others =
    options.against !== undefined && (fit.perLayer || fit.layers !== undefined || (fit.tokens ?? 0) > 0)
      ? [await withModel(cli, sources[1], loading, async (model) => shapeOf(model, model.name), { slots: 1 })]
      : []
  const opened: Opened[] = []
  const traced: TracedModel[] = []
  const kept = keep(cli, tasks, shots, options)
  let written = false
  try {
    for (const source of sources) {
      await withModel(
        cli,
        source,
        loading,
        async (model) => {
          const { quantization, fingerprint, hyperparameters, parameters } = model
          const shown = opened.some((other) => other.name === model.name) ? `${model.name} (2)` : model.name
          if (opened.length === 0) matrixChecks(fit, [shapeOf(model, shown), ...others])
          traced.push(await trace(cli, model, shown, tasks, split, { ...options, shots, kept }))
          opened.push({ name: shown, quantization, fingerprint, hyperparameters, parameters })
        },
        { slots: 1 },
      )
    }
    const report = await reportOf(cli, fit, traced, opened, lineages, { ...options, shots })
    await writeReportFiles(cli, report, options)
    written = true
    if (options.json) printJson(cli, reportJson(report))
    else show(cli, report.matrix!, options)
  } finally {
    kept?.close({ remove: written })
  }
}

/** With --report, traces are kept beside it until it is written, so that the same command goes on where one was stopped. */
function keep(
  cli: Cli,
  tasks: readonly Task[],
  shots: number,
  options: EvalMatrixOptions,
): (MatrixFile & { readonly path: string }) | null {
  if (options.report === undefined) return null
  const path = reportPaths(options.report).answers
  const { seed, cacheType = null } = options
  const file = openMatrixFile(path, tasks, { shots, seed, cacheType, ...templateOf(options) })
  if (file.kept > 0) note(cli, `going on with the traces that ${path} holds`)
  return { ...file, path }
}

async function reportOf(
  cli: Cli,
  fit: MatrixFit,
  traced: readonly TracedModel[],
  opened: readonly Opened[],
  lineages: readonly (readonly string[])[],
  options: OneShots,
): Promise<EvalReport> {
  const kin = opened.map((model, i) => ({ ...model, baseModels: lineages[i] ?? [] }))
  const relatives = kin[1] === undefined ? null : relativesNote(kin[0]!, kin[1])
  const line = createProgressLine(cli)
  const matrix = await generalisationMatrix(traced as [TracedModel, ...TracedModel[]], {
    fit,
    policy: [fit.kind, ...(options.set ?? [])].join(' '),
    target: options.target ?? DEFAULT_TARGET,
    shots: options.shots,
    seed: options.seed,
    notes: relatives === null ? [] : [relatives],
    signal: cli.signal,
    onProgress: (done, total) => line.show(`${bar(done / total)} ${done} of ${total} classifiers`),
  }).finally(() => line.clear())
  const { name: model, quantization, hyperparameters, parameters } = opened[0]!
  return {
    model,
    quantization,
    layers: hyperparameters.layers,
    parameters,
    score: 'token',
    seed: options.seed,
    date: new Date().toISOString(),
    machine: machineName(),
    cells: [],
    overall: [],
    curves: [],
    matrix,
    generation: null,
    notes: opened.slice(1).map(describeOther),
  }
}

/** The number of shots, when the options go together. */
function checkUsage(options: EvalMatrixOptions): number {
  const { shots, depth, controls, score, tasks, against, report } = options
  if (depth !== undefined) throw new UsageError('--matrix fits its own policies: leave --depth out')
  if (controls) throw new UsageError('--controls does not go with --matrix')
  if (score !== 'token') throw new UsageError(`--matrix is scored by the answer's first token, not by ${score}`)
  if (shots.length !== 1) throw new UsageError('--matrix takes one number of shots')
  if (tasks.length < 2 && against === undefined) throw new UsageError('--matrix needs two tasks, or --against MODEL')
  if (report !== undefined) reportPaths(report)
  return shots[0]!
}

function describeOther({ name, quantization, hyperparameters, parameters }: Opened): string {
  return `The matrix has a second model: ${name}, ${quantization}, ${hyperparameters.layers} layers, ${parameters.toLocaleString('en-US')} parameters.`
}

async function trace(
  cli: Cli,
  model: Model,
  name: string,
  tasks: readonly Task[],
  split: Split,
  options: OneShots & { readonly kept: KeptTraces | null },
): Promise<TracedModel> {
  const { shots, seed, limit, kept } = options
  const line = createProgressLine(cli)
  const started = performance.now()
  return await traceParts(model, name, tasks, split, {
    shots,
    seed,
    signal: cli.signal,
    ...templateOf(options),
    ...(limit === undefined ? {} : { limit }),
    ...(kept === null ? {} : { kept }),
    onProgress: (done, total, before) =>
      line.show(
        `${name} ${bar(done / total)} ${done} of ${total} questions · ${timeLeft(started, done - before, total - before)}`,
      ),
  }).finally(() => line.clear())
}

/** One table for the classifiers of each model on the tasks of each. */
function show(cli: Cli, matrix: GeneralisationMatrix, { report }: EvalMatrixOptions): void {
  const { train, test } = matrix
  const models = [...new Set(train.map(({ model }) => model))]
  for (const from of models) {
    for (const to of models) {
      const columns = test.flatMap(({ model }, c) => (model === to ? [c] : []))
      const rows = train.flatMap(({ model }, r) => (model === from ? [r] : []))
      if (models.length > 1) cli.stdout.write(`trained on ${from}, tested on ${to}\n`)
      printTable(cli, [
        ['group', 'trained on', ...columns.map((c) => test[c]!.task)],
        ['', 'full depth', ...columns.map((c) => fullDepthCell(matrix, c))],
        ...rows.map((r) => {
          const { group, tasks } = train[r]!
          return [group, tasks.length > 1 ? 'all of them' : tasks[0]!, ...columns.map((c) => matrixCell(matrix, r, c))]
        }),
      ])
      cli.stdout.write('\n')
    }
  }
  cli.stdout.write(`${MATRIX_KEY}\n`)
  cli.stdout.write(`${matrix.policy}, threshold for ${matrix.target}, ${matrix.shots} shots\n`)
  for (const line of matrix.notes) cli.stdout.write(`${line}\n`)
  if (report !== undefined) cli.stdout.write(`written to ${printable(report)}\n`)
}
