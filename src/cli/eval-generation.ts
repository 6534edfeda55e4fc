import { type Command, InvalidArgumentError, Option } from 'commander'
import type { Model } from '../engine/api.js'
import { printable } from '../errors.js'
import { GENERATION_METRICS, type MetricFamily } from '../evaluate/generation/cells.js'
import { evaluateGeneration, type GenerationOptions } from '../evaluate/generation/evaluate.js'
import type { BeamSettings } from '../evaluate/generation/turn.js'
import { openTurnsFile } from '../evaluate/generation/turns-file.js'
import { BLEU_TOKENIZERS, type BleuTokenizer } from '../evaluate/metrics/tokenize.js'
import { decodingText, generationColumns, TEXT_COLUMNS, type TextColumn } from '../evaluate/report/generation-tables.js'
import { reportJson } from '../evaluate/report/json.js'
import { reportPaths } from '../evaluate/report/write.js'
import type { EvalReport, GenerationCell } from '../evaluate/result.js'
import { trainedWindow } from '../evaluate/trained-window.js'
import { isTextName, loadText, type TextTask } from '../tasks/index.js'
import { addBeamOptions, type BeamOptions } from './beams.js'
import { type Cli, note, printJson, UsageError } from './cli.js'
import { announceDepth } from './generation-options.js'
import { type ModelOptions, withModel } from './model-options.js'
import { bar, createProgressLine } from './progress-line.js'
import { type ReportOptions, writeReportFiles } from './report-files.js'
import { printTable } from './table.js'
import { loadTasks, type TaskOptions, templateOf, timeLeft } from './task-options.js'
import { numberList, wholeNumber } from './values.js'

/** Options that only `--generate` has. */
export interface GenerateFlags extends BeamOptions {
  readonly repeatNgram?: number | true
  readonly generate?: boolean
  readonly batch?: readonly number[]
  readonly metrics?: readonly MetricFamily[]
  readonly tokenize?: BleuTokenizer
  readonly window?: number
  readonly promptLength?: number
}

export interface EvalGenerationOptions extends GenerateFlags, ModelOptions, TaskOptions, ReportOptions {
  readonly tasks: readonly string[]
  readonly shots: readonly number[]
  readonly depth?: readonly string[]
  readonly maxTokens?: number
  readonly controls: boolean
  readonly matrix?: boolean
}

const DEFAULT_MAX_TOKENS = 128
const DEFAULT_PROMPT_LENGTH = 32
/** The field's usual window for perplexity is longer; a small model's training window is shorter. */
const DEFAULT_WINDOW = 512

export function addGenerateOptions(command: Command): Command {
  return addBeamOptions(command)
    .option('--no-repeat-ngram <n>', 'with --generate: no n tokens in a row come twice; 0 is off', wholeNumber(0))
    .option('--generate', 'evaluate generation: translations, summaries, texts; a task ending in .txt is a text')
    .option('--batch <sizes>', 'with --generate: sequences at once, such as 1,8; default 1', numberList)
    .option('--metrics <names>', 'with --generate: bleu,chrf,rouge; default all', metricList)
    .addOption(
      new Option('--tokenize <name>', 'with --generate: of BLEU; default by the language').choices(BLEU_TOKENIZERS),
    )
    .option(
      '--window <n>',
      'with --generate: tokens of a text that are read at once; default 512, or as many as the model was trained on',
      wholeNumber(2),
    )
    .option('--prompt-length <n>', "with --generate: a window's tokens at full depth; default 32", wholeNumber(1))
}

/** What `--generate` alone takes is wrong without it. */
export function refuseGenerateOptions(flags: GenerateFlags): void {
  const { batch, metrics, tokenize, window, beams } = flags
  const own = {
    batch,
    metrics,
    tokenize,
    window,
    beams,
    'prompt-length': flags.promptLength,
    'length-penalty': flags.lengthPenalty,
    'no-repeat-ngram': ngramOf(flags) === 0 ? undefined : flags.repeatNgram,
  }
  for (const [option, value] of Object.entries(own)) {
    if (value !== undefined) throw new UsageError(`--${option} goes with --generate`)
  }
}

/** `shoal eval --generate`. */
export async function evalGeneration(
  cli: Cli,
  name: string | undefined,
  options: EvalGenerationOptions,
): Promise<void> {
  if (options.controls) throw new UsageError('--controls does not go with --generate')
  if (options.matrix) throw new UsageError('--matrix does not go with --generate')
  if (options.beams === undefined && options.lengthPenalty !== undefined)
    throw new UsageError('--length-penalty goes with --beams N')
  const { report, batch: batches = [1] } = options
  if (report !== undefined) reportPaths(report)
  const texts: TextTask[] = []
  for (const text of options.tasks.filter(isTextName)) texts.push(await loadText(text))
  const tasks = await loadTasks(
    options.tasks.filter((task) => !isTextName(task)),
    options,
  )
  const names = [...tasks, ...texts].map((task) => task.name)
  const twice = names.find((task, i) => names.indexOf(task) < i)
  if (twice !== undefined) throw new UsageError(`two of the tasks are called ${twice}`)
  await withModel(
    cli,
    name,
    options,
    async (model) => {
      const depths: string[] = []
      for (const spec of options.depth ?? ['unified:2x']) depths.push((await announceDepth(cli, model, spec)).spec)
      const { seed, limit, shots, tokenize, maxTokens = DEFAULT_MAX_TOKENS, metrics = GENERATION_METRICS } = options
      const { window, promptLength } = windowOf(model, options)
      const generation: GenerationOptions = {
        tasks,
        texts,
        shots,
        depths,
        batches: [...new Set(batches)],
        metrics,
        seed,
        maxTokens,
        beams: beamsOf(options),
        noRepeatNgram: ngramOf(options),
        window,
        promptLength,
        signal: cli.signal,
        ...templateOf(options),
        ...(limit === undefined ? {} : { limit }),
        ...(tokenize === undefined ? {} : { tokenize }),
      }
      const result = await evaluateAndKeep(cli, model, generation, options)
      if (options.json) printJson(cli, reportJson(result))
      else show(cli, result, options)
    },
    { slots: Math.max(...batches) },
  )
}

/** commander makes an option that begins with `--no-` true where it is not given. */
function ngramOf({ repeatNgram }: GenerateFlags): number {
  return typeof repeatNgram === 'number' ? repeatNgram : 0
}

function windowOf(model: Model, options: GenerateFlags): { window: number; promptLength: number } {
  const window = options.window ?? Math.min(DEFAULT_WINDOW, trainedWindow(model.name), model.context)
  const promptLength = options.promptLength ?? Math.min(DEFAULT_PROMPT_LENGTH, Math.ceil(window / 2))
  if (window > model.context) throw new UsageError(`--window ${window}: the context holds ${model.context} tokens`)
  if (promptLength >= window) throw new UsageError(`--prompt-length ${promptLength} leaves nothing of ${window} tokens`)
  return { window, promptLength }
}

function beamsOf({ beams, lengthPenalty }: GenerateFlags): BeamSettings | null {
  if (beams === undefined) return null
  return { beams, ...(lengthPenalty === undefined ? {} : { lengthPenalty }) }
}

/** As `shoal eval` does: with --report, what is done is kept beside it until it is written. */
async function evaluateAndKeep(
  cli: Cli,
  model: Model,
  generation: GenerationOptions,
  options: EvalGenerationOptions,
): Promise<EvalReport> {
  const { report: path, threads = null, cacheType = null } = options
  const answers = path === undefined ? null : reportPaths(path).answers
  const kept = answers === null ? null : await openTurnsFile(answers, model, generation, { threads, cacheType })
  if (kept !== null && kept.kept > 0) note(cli, `going on with what ${answers} holds`)
  const line = createProgressLine(cli)
  const started = performance.now()
  let written = false
  try {
    const report = await evaluateGeneration(model, {
      ...generation,
      ...(kept === null ? {} : { kept }),
      onProgress: (done, total, before) =>
        line.show(
          `${bar(done / total)} ${done} of ${total} parts · ${timeLeft(started, done - before, total - before)}`,
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

function show(cli: Cli, report: EvalReport, { report: path }: EvalGenerationOptions): void {
  const { cells, texts, window, promptLength } = report.generation!
  if (cells.length > 0) {
    const columns = generationColumns(cells, (metric) => metric !== 'rouge1' && metric !== 'rouge2')
    print(cli, columns.map(withoutInterval), cells)
    const skipped = cells.filter((c) => c.depth === 'full').reduce((sum, c) => sum + c.skipped, 0)
    if (skipped > 0) cli.stdout.write(`${skipped} items do not fit the context and were skipped\n`)
    cli.stdout.write(
      `${decodingText(report.generation!)} · output tok/s: decoding only · all tok/s: prompt and new tokens over all time\n`,
    )
  }
  if (texts.length > 0) {
    if (cells.length > 0) cli.stdout.write('\n')
    print(cli, TEXT_COLUMNS, texts)
    cli.stdout.write(`windows of ${window} tokens, the first ${promptLength} at full depth and not scored\n`)
  }
  cli.stdout.write(`${report.model} · ${report.quantization} · ${report.layers} layers\n`)
  if (path !== undefined) cli.stdout.write(`written to ${printable(path)}\n`)
}

function print<T>(cli: Cli, columns: readonly TextColumn<T>[], cells: readonly T[]): void {
  printTable(cli, [columns.map(({ name }) => name), ...cells.map((cell) => columns.map((column) => column.text(cell)))])
}

/** Scores stand without their interval on a terminal: the report has all of them. */
function withoutInterval(column: TextColumn<GenerationCell>): TextColumn<GenerationCell> {
  return column.numeric ? { ...column, text: (cell) => column.text(cell).replace(/ \[.*\]$/, '') } : column
}

function metricList(text: string): MetricFamily[] {
  return text.split(',').map((part) => {
    const found = GENERATION_METRICS.find((metric) => metric === part.trim())
    if (found === undefined) throw new InvalidArgumentError(`It must be some of ${GENERATION_METRICS.join(', ')}.`)
    return found
  })
}
