import { Command, Option } from 'commander'
import type { Policy } from '../depth/policy.js'
import type { Model } from '../engine/api.js'
import { printable } from '../errors.js'
import { openAnswersFile } from '../evaluate/answers-file.js'
import { type EvaluateOptions, evaluate } from '../evaluate/evaluate.js'
import { reportJson } from '../evaluate/report/json.js'
import { reportPaths } from '../evaluate/report/write.js'
import type { EvalCell, EvalReport, Interval } from '../evaluate/result.js'
import { isTextName, SCORE_MODES, type ScoreMode, taskGroups } from '../tasks/index.js'
import { type Cli, note, printJson, tellWhenStopped, UsageError } from './cli.js'
import { addGenerateOptions, evalGeneration, type GenerateFlags, refuseGenerateOptions } from './eval-generation.js'
import { addMatrixOptions, evalMatrix, type MatrixOptions, refuseMatrixOptions } from './eval-matrix.js'
import { announceDepth } from './generation-options.js'
import { noteOtherDepths } from './made-for.js'
import { addModelOptions, type ModelOptions, withModel } from './model-options.js'
import { bar, createProgressLine } from './progress-line.js'
import { keptBeside, writeReportFiles } from './report-files.js'
import { printTable } from './table.js'
import { addTaskOptions, loadTasks, nameList, type TaskOptions, templateOf, timeLeft } from './task-options.js'
import { collect, wholeNumber } from './values.js'

interface EvalCommandOptions extends Omit<EvalOptions, 'tasks'> {
  readonly tasks?: readonly string[]
  readonly listTasks?: boolean
}

interface EvalOptions extends ModelOptions, TaskOptions, MatrixOptions, GenerateFlags {
  readonly tasks: readonly string[]
  readonly shots: readonly number[]
  readonly depth?: readonly string[]
  readonly score: ScoreMode
  readonly maxTokens?: number
  readonly controls: boolean
  readonly report?: string
  readonly figures?: string
}

const EXAMPLES = `
Examples:
  $ shoal eval --tasks fruit_v_animal_3,capitalize --shots 0,5,10 --depth full --depth gap:0.8 --report report.html
  $ shoal eval --tasks choose_first_of_3 --shots 5 --depth gap:0.8,from=8 --controls
  $ shoal eval ./checkpoint --data ./data --tasks sst2 --shots 5 --score labels --limit 200 --depth adainfer:sst2.policy.json
  $ shoal eval --matrix --tasks fruit_v_animal_3,capitalize,choose_first_of_3 --shots 5 --report matrix.html
  $ shoal eval ripple-8m --matrix --against ripple-8m-flex --tasks fruit_v_animal_3,capitalize --policy adainfer-crf
  $ shoal eval --generate --tasks prose --depth unified:2x --depth gap:0.9
  $ shoal eval ./bloomz --generate --data ./data --tasks wmt22:de-en,summaries.jsonl --shots 1 --batch 1,8 --report out.html

Every depth is compared with full depth on the same questions, in turn. --controls adds, at each exit policy's own mean
depth, a fixed exit, random exits and pruned layers (ShortGPT), and the oracle. With --report a run that is stopped goes on
where it was when the same command is given again.

--generate scores generation (greedy, or --beams 4 --no-repeat-ngram 3) with BLEU, chrF and ROUGE beside full depth's, counts
tokens per second with and without the prompt, and gives the perplexity of texts. The default depth there is unified:2x.`

export function buildEval(cli: Cli): Command {
  const command = new Command('eval')
    .description('Answer the questions of tasks under several depths: accuracy, agreement, layers, FLOPs and time.')
    .argument('[model]', 'folder with a Hugging Face checkpoint, GGUF file, bundled model, or model on the Hub')
    .usage('[MODEL] --tasks NAMES [options]')
    .option('--tasks <names>', 'tasks, separated by commas; a path ending in .jsonl is a task of your own', nameList)
    .option('--list-tasks', 'show the names of all tasks and end')
    .option('--shots <list>', 'examples before the question, such as 0,5,10', shotList, [0])
    .option('--depth <spec>', 'a depth to evaluate (may be given several times)', collect)
    .addOption(new Option('--score <how>', 'what counts as right').choices(SCORE_MODES).default('token'))
    .option('--max-tokens <n>', 'of an answer under --score generate, default 32; with --generate 128', wholeNumber(1))
    .option('--controls', 'add controls at the same mean depth', false)
    .option('--report <file>', 'write an HTML report, with Markdown and JSON beside it')
    .option('--figures <folder>', 'write every figure as SVG and PNG')
  addModelOptions(addTaskOptions(addGenerateOptions(addMatrixOptions(command)))).addHelpText('after', EXAMPLES)
  return command.action((name: string | undefined, { tasks, ...options }: EvalCommandOptions) => {
    if (options.listTasks) return listTasks(cli, options)
    if (tasks === undefined)
      throw new UsageError('--tasks NAMES is missing; shoal eval --list-tasks shows what there is')
    const keeps = options.matrix ? 'keeps the traces' : options.generate ? 'keeps what is done' : 'keeps the answers'
    return tellWhenStopped(
      cli,
      () => keptBeside(options, keeps),
      () => runEval(cli, name, { ...options, tasks }),
    )
  })
}

function listTasks(cli: Cli, { json }: ModelOptions): void {
  const groups = taskGroups()
  if (json) {
    printJson(cli, { groups: [...groups].map(([group, tasks]) => ({ group, tasks })) })
    return
  }
  for (const [group, tasks] of groups) cli.stdout.write(`${group}:\n${wrapped(tasks)}\n`)
}

/** Names in lines of at most 100 letters. */
function wrapped(names: readonly string[]): string {
  const lines = ['']
  for (const name of names) {
    if (`${lines.at(-1)} ${name}`.length > 98) lines.push('')
    lines.push(`${lines.pop()} ${name}`)
  }
  return lines.map((line) => ` ${line}\n`).join('')
}

async function runEval(cli: Cli, name: string | undefined, options: EvalOptions): Promise<void> {
  if (options.generate) return evalGeneration(cli, name, options)
  refuseGenerateOptions(options)
  const text = options.tasks.find((task) => isTextName(task) || task.startsWith('wmt22:'))
  if (text !== undefined) throw new UsageError(`task ${text} has no answers of one step: it goes with --generate`)
  if (options.matrix) return evalMatrix(cli, name, options)
  refuseMatrixOptions(options)
  const { score, shots, seed, limit, maxTokens = 32, controls } = options
  if (options.report !== undefined) reportPaths(options.report)
  await withModel(
    cli,
    name,
    options,
    async (model) => {
      const tasks = await loadTasks(options.tasks, options)
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
      const report = await evaluateAndKeep(cli, model, evaluateOptions, options)
      for (const line of report.notes) note(cli, line)
      if (options.json) printJson(cli, reportJson(report))
      else show(cli, report, options)
    },
    { slots: 1 },
  )
}

/** With --report, answers are kept beside it until it is written, so that the same command goes on where one was stopped. */
async function evaluateAndKeep(
  cli: Cli,
  model: Model,
  evaluateOptions: EvaluateOptions,
  options: EvalOptions,
): Promise<EvalReport> {
  const { report: path, threads = null, cacheType = null } = options
  const answers = path === undefined ? null : reportPaths(path).answers
  const kept = answers === null ? null : await openAnswersFile(answers, model, evaluateOptions, { threads, cacheType })
  if (kept !== null && kept.kept > 0) note(cli, `going on with the answers that ${answers} holds`)
  const line = createProgressLine(cli)
  const started = performance.now()
  let written = false
  try {
    const report = await evaluate(model, {
      ...evaluateOptions,
      ...(kept === null ? {} : { kept }),
      onProgress: (done, total, before) =>
        line.show(
          `${bar(done / total)} ${done} of ${total} answers · ${timeLeft(started, done - before, total - before)}`,
        ),
    })
    line.clear()
    await writeReportFiles(cli, report, options)
    written = true
    return report
  } finally {
    line.clear()
    kept?.close({ remove: written })
  }
}

function show(cli: Cli, report: EvalReport, { report: path }: EvalOptions): void {
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
      share(c.accuracy),
      ...(squad ? [c.f1 === null ? '–' : share(c.f1)] : []),
      difference(c),
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

function share({ mean, low, high }: Interval): string {
  return `${mean.toFixed(3)} [${low.toFixed(2)}, ${high.toFixed(2)}]`
}

function difference(c: EvalCell): string {
  if (c.depth === 'full') return ''
  const sign = (x: number) => `${x > 0 ? '+' : ''}${x.toFixed(2)}`
  const { mean, low, high } = c.accuracyDifference
  return `${sign(mean)} [${sign(low)}, ${sign(high)}]`
}

function shotList(text: string): number[] {
  return text.split(',').map((part) => wholeNumber(0, 1000)(part.trim()))
}
