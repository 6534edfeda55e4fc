import { rm } from 'node:fs/promises'
import { Command, Option } from 'commander'
import type { AskOptions } from '../calibrate/ask.js'
import { DEFAULT_TARGET, DRAWS } from '../calibrate/settings.js'
import { createSplit } from '../calibrate/split.js'
import type { Target } from '../calibrate/threshold.js'
import { baseModels } from '../convert/lineage.js'
import { DEFAULT_MODEL } from '../convert/package.js'
import { POLICY_KINDS, type PolicyKind } from '../depth/policy-kind.js'
import type { Model } from '../engine/api.js'
import { printable } from '../errors.js'
import { machineName } from '../evaluate/machine.js'
import { generalisationMatrix, type MatrixFit, matrixChecks } from '../evaluate/matrix.js'
import { PARTS, shapeOf, type TracedModel, traceParts } from '../evaluate/matrix-traces.js'
import { relativesNote } from '../evaluate/relatives.js'
import { reportJson } from '../evaluate/report/json.js'
import { fullDepthCell, MATRIX_KEY, matrixCell } from '../evaluate/report/matrix-tables.js'
import { reportPaths } from '../evaluate/report/write.js'
import type { EvalReport, GeneralisationMatrix } from '../evaluate/result.js'
import { parseSettings, parseTarget } from './calibrate-settings.js'
import { type Cli, printJson, tellWhenStopped, UsageError } from './cli.js'
import { fetchNamed } from './loading-line.js'
import { addModelOptions, MODEL_HELP, type ModelOptions, withModel } from './model-options.js'
import { bar, createProgressLine } from './progress-line.js'
import { addReportOptions, keptBeside, type ReportOptions, writeReportFiles } from './report-files.js'
import { printTable } from './table.js'
import {
  addTaskNames,
  addTaskOptions,
  loadTasks,
  requireTasks,
  type TaskNames,
  type TaskOptions,
  templateOf,
} from './task-options.js'
import { withTraceProgress } from './trace-progress.js'
import { repeatable, wholeNumber } from './values.js'

/** What is kept of a model that is closed again. */
type Opened = Pick<Model, 'name' | 'quantization' | 'fingerprint' | 'hyperparameters' | 'parameters'>

interface EvalMatrixOptions extends ModelOptions, TaskOptions, TaskNames, ReportOptions {
  readonly shots: number
  readonly policy: PolicyKind
  readonly set?: readonly string[]
  readonly target: Target
}

const EXAMPLES = `
Examples:
  $ shoal eval matrix --task fruit_v_animal_3 --task capitalize --task choose_first_of_3 --shots 5 -o matrix.html
  $ shoal eval matrix ripple-8m ripple-8m-flex --task fruit_v_animal_3 --task capitalize --policy adainfer-crf

Of two models, classifiers of each are tried on both. With -o a run that is stopped goes on where it was when the same
command is given again.`

export function buildEvalMatrix(cli: Cli): Command {
  const command = new Command('matrix')
    .summary('how classifiers generalise across tasks and models')
    .description('Train a classifier on each task and try it on every task, of one model or of two.')
    .usage('[MODEL] [MODEL] --task NAME [options]')
  addTaskNames(command.argument('[models...]', MODEL_HELP), 'a task, or a .jsonl file with one of your own')
    .option('--shots <n>', 'examples before the question', wholeNumber(0, 1000), 0)
    .addOption(
      new Option('--policy <kind>', 'kind of policy that is fitted').choices(POLICY_KINDS).default('adainfer-svm'),
    )
    .addOption(repeatable('--set <key=value>', 'a setting, as of calibrate'))
    .addOption(
      new Option('--target <what>', 'as of calibrate')
        .argParser(parseTarget)
        .default(DEFAULT_TARGET, `${DEFAULT_TARGET.kind}=${DEFAULT_TARGET.value}`),
    )
  addModelOptions(addTaskOptions(addReportOptions(command))).addHelpText('after', EXAMPLES)
  return command.action((names: string[], options: EvalMatrixOptions) =>
    tellWhenStopped(
      cli,
      () => keptBeside(options, 'keeps the traces'),
      () => evalMatrix(cli, names, options),
    ),
  )
}

/** How classifiers generalise across tasks, and across two models. */
async function evalMatrix(cli: Cli, names: readonly string[], options: EvalMatrixOptions): Promise<void> {
  const taskNames = requireTasks(options)
  if (names.length > 2) throw new UsageError('the matrix takes two models at most')
  if (taskNames.length < 2 && names.length < 2) throw new UsageError('the matrix needs two tasks, or two models')
  if (options.out !== undefined) reportPaths(options.out)
  const { checkTokens, ...settings } = parseSettings(options.set ?? [])
  if (checkTokens !== undefined) throw new UsageError('--set check-tokens: the matrix is made with the whole head')
  const { policy: kind } = options
  if (settings.threshold !== undefined)
    throw new UsageError('the matrix chooses thresholds: leave --set threshold= out')
  const { threshold: _, ...rest } = settings
  const fit: MatrixFit = { ...rest, kind }
  const tasks = await loadTasks(taskNames, options)
  const twice = tasks.find((task, i) => tasks.findIndex((other) => other.name === task.name) < i)
  if (twice !== undefined) throw new UsageError(`two of the tasks are called ${twice.name}`)

  const split = createSplit(PARTS, options.seed)
  const sources: string[] = []
  for (const source of names.length === 0 ? [DEFAULT_MODEL] : names) {
    sources.push(await fetchNamed(cli, source, options))
  }
  const { revision: _revision, ...loading } = options
  const lineages: string[][] = []
  for (const source of sources) lineages.push(await baseModels(source))
  // Learned before hours of tracing where a policy may make no sense on the second model.
  const others =
    sources[1] !== undefined && (fit.perLayer || fit.layers !== undefined || (fit.tokens ?? 0) > 0)
      ? [await withModel(cli, sources[1], loading, async (model) => shapeOf(model, model.name), { slots: 1 })]
      : []
  const opened: Opened[] = []
  const traced: TracedModel[] = []
  const kept = sources.map((_, i) => keptTraces(options, i))
  const { shots, seed, limit } = options
  const asking: AskOptions = {
    shots,
    draws: DRAWS,
    seed,
    positions: 'answer',
    maxTokens: 1,
    signal: cli.signal,
    ...templateOf(options),
    ...(limit === undefined ? {} : { limit }),
  }
  for (const [i, source] of sources.entries()) {
    await withModel(
      cli,
      source,
      loading,
      async (model) => {
        const { quantization, fingerprint, hyperparameters, parameters } = model
        const shown = opened.some((other) => other.name === model.name) ? `${model.name} (2)` : model.name
        if (opened.length === 0) matrixChecks(fit, [shapeOf(model, shown), ...others])
        traced.push(
          await withTraceProgress(cli, kept[i], `${shown} `, (keeping) =>
            traceParts(model, shown, tasks, split, asking, keeping),
          ),
        )
        opened.push({ name: shown, quantization, fingerprint, hyperparameters, parameters })
      },
      { slots: 1 },
    )
  }
  const report = await reportOf(cli, fit, traced, opened, lineages, options)
  await writeReportFiles(cli, report, options)
  for (const path of kept) if (path !== undefined) await rm(path, { force: true })
  if (options.json) printJson(cli, reportJson(report))
  else show(cli, report.matrix!, options)
}

/** With -o, a model's traces are kept beside it until it is written, so that the same command goes on where one was stopped. */
function keptTraces({ out }: EvalMatrixOptions, model: number): string | undefined {
  const answers = out && reportPaths(out).answers
  return model === 0 ? answers : answers?.replace(/\.jsonl$/, `-${model + 1}.jsonl`)
}

async function reportOf(
  cli: Cli,
  fit: MatrixFit,
  traced: readonly TracedModel[],
  opened: readonly Opened[],
  lineages: readonly (readonly string[])[],
  options: EvalMatrixOptions,
): Promise<EvalReport> {
  const kin = opened.map((model, i) => ({ ...model, baseModels: lineages[i] ?? [] }))
  const relatives = kin[1] === undefined ? null : relativesNote(kin[0]!, kin[1])
  const line = createProgressLine(cli)
  const matrix = await generalisationMatrix(traced as [TracedModel, ...TracedModel[]], {
    fit,
    policy: [fit.kind, ...(options.set ?? [])].join(' '),
    target: options.target,
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

function describeOther({ name, quantization, hyperparameters, parameters }: Opened): string {
  return `The matrix has a second model: ${name}, ${quantization}, ${hyperparameters.layers} layers, ${parameters.toLocaleString('en-US')} parameters.`
}

/** One table for the classifiers of each model on the tasks of each. */
function show(cli: Cli, matrix: GeneralisationMatrix, { out }: EvalMatrixOptions): void {
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
  if (out !== undefined) cli.stdout.write(`written to ${printable(out)}\n`)
}
