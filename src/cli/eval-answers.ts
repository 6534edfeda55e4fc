import { Command, Option } from 'commander'
import type { Policy } from '../depth/policy.js'
import { printable } from '../errors.js'
import { openAnswersFile } from '../evaluate/answers-file.js'
import { type EvaluateOptions, evaluate } from '../evaluate/evaluate.js'
import { interval, signed } from '../evaluate/report/format.js'
import { reportJson } from '../evaluate/report/json.js'
import { reportPaths } from '../evaluate/report/write.js'
import type { EvalReport } from '../evaluate/result.js'
import { isTextName, SCORE_MODES, type ScoreMode } from '../tasks/index.js'
import { type Cli, note, printJson, tellWhenStopped, UsageError } from './cli.js'
import { evaluateAndKeep } from './evaluate-and-keep.js'
import { announceDepth } from './generation-options.js'
import { noteOtherDepths } from './made-for.js'
import { addModelOptions, DEPTH_HELP, MODEL_HELP, type ModelOptions, withModel } from './model-options.js'
import { addReportOptions, keptBeside, type ReportOptions } from './report-files.js'
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
import { listOption, repeatable, shotList, wholeNumber } from './values.js'

interface EvalAnswersOptions extends ModelOptions, TaskOptions, TaskNames, ReportOptions {
  readonly shots: readonly number[]
  readonly depth?: readonly string[]
  readonly score: ScoreMode
  readonly maxTokens: number
  readonly controls?: boolean
}

const EXAMPLES = `
Examples:
  $ shoal eval answers --task fruit_v_animal_3 --task capitalize --shots 0,5,10 --depth full --depth gap:0.8 -o report.html
  $ shoal eval answers --task choose_first_of_3 --shots 5 --depth gap:0.8,from=8 --controls
  $ shoal eval answers ./checkpoint --data ./data --task sst2 --shots 5 --score labels --limit 200 --depth adainfer:sst2.policy.json

Every depth is compared with full depth on the same questions, in turn. --controls adds, at each exit policy's own mean
depth, a fixed exit, random exits and pruned layers (ShortGPT), and the oracle. With -o a run that is stopped goes on where
it was when the same command is given again.`

export function buildEvalAnswers(cli: Cli): Command {
  const command = new Command('answers')
    .summary('answer questions: accuracy, agreement, layers, FLOPs, time')
    .description('Answer the questions of tasks under several depths: accuracy, agreement, layers, FLOPs and time.')
    .usage('[MODEL] --task NAME [options]')
  addTaskNames(command.argument('[model]', MODEL_HELP), 'a task, or a .jsonl file with one of your own')
    .addOption(listOption('--shots <list>', 'examples before the question, such as 0,5,10', shotList, [0]))
    .addOption(repeatable('--depth <spec>', `${DEPTH_HELP}; default gap:0.8`))
    .addOption(new Option('--score <how>', 'what counts as right').choices(SCORE_MODES).default('token'))
    .option('--max-tokens <n>', 'of an answer under --score generate', wholeNumber(1), 32)
    .option('--controls', 'add controls at the same mean depth')
  addModelOptions(addTaskOptions(addReportOptions(command))).addHelpText('after', EXAMPLES)
  return command.action((name: string | undefined, options: EvalAnswersOptions) =>
    tellWhenStopped(
      cli,
      () => keptBeside(options, 'keeps the answers'),
      () => evalAnswers(cli, name, options),
    ),
  )
}

async function evalAnswers(cli: Cli, name: string | undefined, options: EvalAnswersOptions): Promise<void> {
  const names = requireTasks(options)
  const text = names.find((task) => isTextName(task) || task.startsWith('wmt22:'))
  if (text !== undefined)
    throw new UsageError(`task ${text} has no answers of one step: it goes with shoal eval generation`)
  const { score, shots, seed, limit, maxTokens, controls = false } = options
  if (options.out !== undefined) reportPaths(options.out)
  await withModel(
    cli,
    name,
    options,
    async (model) => {
      const tasks = await loadTasks(names, options)
      const policies: Policy[] = []
      for (const spec of options.depth ?? ['gap:0.8']) policies.push(await announceDepth(cli, model, spec))
      await noteOtherDepths(cli, model, policies)
      const depths = policies.map(({ spec }) => spec)
      if (controls && score !== 'token') note(cli, 'controls are for --score token; none are added')
      const evaluateOptions: EvaluateOptions = {
        tasks,
        shots,
        depths,
        score,
        seed,
        maxTokens,
        controls,
        signal: cli.signal,
        ...templateOf(options),
        ...(limit === undefined ? {} : { limit }),
      }
      const report = await evaluateAndKeep(cli, options, {
        unit: 'answers',
        open: (path, settings) => openAnswersFile(path, model, evaluateOptions, settings),
        run: (more) => evaluate(model, { ...evaluateOptions, ...more }),
      })
      for (const line of report.notes) note(cli, line)
      if (options.json) printJson(cli, reportJson(report))
      else show(cli, report, options)
    },
    { slots: 1 },
  )
}

function show(cli: Cli, report: EvalReport, { out: path }: EvalAnswersOptions): void {
  const several = new Set(report.cells.map(({ task }) => task)).size > 1
  const rows = [...report.cells, ...(several ? report.overall : [])]
  const squad = rows.some((c) => c.f1 !== null)
  printTable(cli, [
    [
      'task',
      'shots',
      'depth',
      'n',
      'accuracy',
      ...(squad ? ['F1'] : []),
      'to full',
      'agrees',
      'layers',
      'FLOPs',
      'with checks',
      'time',
    ],
    ...rows.map((c) => [
      `${c.task}${c.beyondWindow ? ' *' : ''}`,
      c.shotsUsed === c.shots ? String(c.shots) : `${c.shots} (${c.shotsUsed.toFixed(1)})`,
      c.depth,
      String(c.prompts),
      interval(c.accuracy, 3),
      ...(squad ? [interval(c.f1, 3)] : []),
      c.depth === 'full' ? '' : interval(c.accuracyDifference, 2, signed),
      c.agreement.mean.toFixed(3),
      c.depthMean.mean.toFixed(1),
      c.flopsRatio.toFixed(2),
      c.flopsRatioWithChecks.toFixed(2),
      c.timeRatio === null ? '–' : c.timeRatio.mean.toFixed(2),
    ]),
  ])
  const { cells } = report
  if (squad) cli.stdout.write('accuracy of SQuAD is exact match\n')
  if (cells.some((c) => c.beyondWindow))
    cli.stdout.write('* prompts longer than the 256 tokens that the model was trained on\n')
  const skipped = cells.filter((c) => c.depth === 'full').reduce((sum, c) => sum + c.skipped, 0)
  if (skipped > 0) cli.stdout.write(`${skipped} questions do not fit the context and were skipped\n`)
  cli.stdout.write(
    `${report.model} · ${report.quantization} · ${report.layers} layers · FLOPs and time against full depth\n`,
  )
  if (path !== undefined) cli.stdout.write(`written to ${printable(path)}\n`)
}
