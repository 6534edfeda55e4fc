import { Command, Option } from 'commander'
import { evaluate } from '../evaluate/evaluate.js'
import { reportJson } from '../evaluate/report/json.js'
import { reportPaths, writeFigures, writeReport } from '../evaluate/report/write.js'
import type { EvalCell, EvalReport } from '../evaluate/result.js'
import { SCORE_MODES, type ScoreMode } from '../tasks/index.js'
import { type Cli, note, printJson } from './cli.js'
import { announceDepth } from './generation-options.js'
import { addModelOptions, type ModelOptions, withModel } from './model-options.js'
import { bar, createProgressLine } from './progress-line.js'
import { printTable } from './table.js'
import { addTaskOptions, loadTasks, nameList, type TaskOptions, templateOf, timeLeft } from './task-options.js'
import { collect, wholeNumber } from './values.js'

interface EvalOptions extends ModelOptions, TaskOptions {
  readonly tasks: readonly string[]
  readonly shots: readonly number[]
  readonly depth?: readonly string[]
  readonly score: ScoreMode
  readonly maxTokens: number
  readonly controls: boolean
  readonly report?: string
  readonly figures?: string
}

const EXAMPLES = `
Examples:
  $ shoal eval --tasks fruit_v_animal_3,capitalize --shots 0,5,10 --depth full --depth gap:0.8 --report report.html
  $ shoal eval --tasks choose_first_of_3 --shots 5 --depth gap:0.8,from=8 --controls
  $ shoal eval ./checkpoint --data ./data --tasks sst2 --shots 5 --score labels --limit 200 --depth adainfer:sst2.policy.json

Every depth is compared with full depth on the same questions, in turn. --controls adds, at each exit policy's own mean
depth, a fixed exit, random exits and pruned layers (ShortGPT), and the oracle.`

export function buildEval(cli: Cli): Command {
  const command = new Command('eval')
    .description('Answer the questions of tasks under several depths: accuracy, agreement, layers, FLOPs and time.')
    .argument('[model]', 'folder with a Hugging Face checkpoint, GGUF file, or name of a bundled model')
    .usage('[MODEL] --tasks NAMES [options]')
    .requiredOption(
      '--tasks <names>',
      'tasks, separated by commas; a path ending in .jsonl is a task of your own',
      nameList,
    )
    .option('--shots <list>', 'examples before the question, such as 0,5,10', shotList, [0])
    .option('--depth <spec>', 'a depth to evaluate (may be given several times)', collect)
    .addOption(new Option('--score <how>', 'what counts as right').choices(SCORE_MODES).default('token'))
    .option('--max-tokens <n>', 'of an answer under --score generate', wholeNumber(1), 32)
    .option('--controls', 'add controls at the same mean depth', false)
    .option('--report <file>', 'write an HTML report, with Markdown and JSON beside it')
    .option('--figures <folder>', 'write every figure as SVG and PNG')
  addModelOptions(addTaskOptions(command)).addHelpText('after', EXAMPLES)
  return command.action((name: string | undefined, options: EvalOptions) => runEval(cli, name, options))
}

async function runEval(cli: Cli, name: string | undefined, options: EvalOptions): Promise<void> {
  const { score, shots, seed, limit, maxTokens, controls } = options
  if (options.report !== undefined) reportPaths(options.report)
  await withModel(
    cli,
    name,
    options,
    async (model) => {
      const tasks = await loadTasks(options.tasks, options)
      const depths = (options.depth ?? ['gap:0.8']).map((spec) => announceDepth(cli, model, spec))
      if (controls && score !== 'token') note(cli, 'controls are for --score token; none are added')
      const line = createProgressLine(cli)
      const started = performance.now()
      const report = await evaluate(model, {
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
        onProgress: (done, total) =>
          line.show(`${bar(done / total)} ${done} of ${total} questions · ${timeLeft(started, done, total)}`),
      }).finally(() => line.clear())
      if (options.report !== undefined || options.figures !== undefined) {
        if (options.report !== undefined) await writeReport(report, options.report)
        if (options.figures !== undefined) {
          const { warning } = await writeFigures(report, options.figures)
          if (warning !== null) note(cli, warning)
        }
      }
      if (options.json) printJson(cli, reportJson(report))
      else show(cli, report, options)
    },
    { slots: 1 },
  )
}

function show(cli: Cli, report: EvalReport, { report: path }: EvalOptions): void {
  const several = new Set(report.cells.map(({ task }) => task)).size > 1
  const rows = [...report.cells, ...(several ? report.overall : [])]
  printTable(cli, [
    ['task', 'shots', 'depth', 'n', 'accuracy', 'to full', 'agrees', 'layers', 'FLOPs', 'with checks', 'time'],
    ...rows.map((c) => [
      `${c.task}${c.beyondWindow ? ' *' : ''}`,
      c.shotsUsed === c.shots ? String(c.shots) : `${c.shots} (${c.shotsUsed.toFixed(1)})`,
      c.depth,
      String(c.prompts),
      `${c.accuracy.mean.toFixed(3)} [${c.accuracy.low.toFixed(2)}, ${c.accuracy.high.toFixed(2)}]`,
      difference(c),
      c.agreement.mean.toFixed(3),
      c.depthMean.mean.toFixed(1),
      c.flopsRatio.toFixed(2),
      c.flopsRatioWithChecks.toFixed(2),
      c.timeRatio === null ? '–' : c.timeRatio.mean.toFixed(2),
    ]),
  ])
  const { cells } = report
  if (cells.some((c) => c.beyondWindow))
    cli.stdout.write('* prompts longer than the 256 tokens that the model was trained on\n')
  const skipped = cells.filter((c) => c.depth === 'full').reduce((sum, c) => sum + c.skipped, 0)
  if (skipped > 0) cli.stdout.write(`${skipped} questions do not fit the context and were skipped\n`)
  cli.stdout.write(
    `${report.model} · ${report.quantization} · ${report.layers} layers · FLOPs and time against full depth\n`,
  )
  if (path !== undefined) cli.stdout.write(`written to ${path}\n`)
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
