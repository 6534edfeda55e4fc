import { Command, InvalidArgumentError, Option } from 'commander'
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
import { type Cli, printJson, tellWhenStopped, UsageError } from './cli.js'
import { evaluateAndKeep } from './evaluate-and-keep.js'
import { announceDepth } from './generation-options.js'
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
import { listOption, numberList, repeatable, shotList, wholeNumber } from './values.js'

interface EvalGenerationOptions extends BeamOptions, ModelOptions, TaskOptions, TaskNames, ReportOptions {
  readonly shots: readonly number[]
  readonly depth?: readonly string[]
  readonly maxTokens: number
  readonly batch: readonly number[]
  readonly metric?: readonly MetricFamily[]
  readonly tokenize?: BleuTokenizer
  readonly window?: number
  readonly promptLength?: number
  /** commander makes an option that begins with `--no-` true where it is not given. */
  readonly repeatNgram?: number | true
}

const DEFAULT_PROMPT_LENGTH = 32
/** The field's usual window for perplexity is longer; a small model's training window is shorter. */
const DEFAULT_WINDOW = 512

const EXAMPLES = `
Examples:
  $ shoal eval generation --task prose --depth unified:2x --depth gap:0.9
  $ shoal eval generation ./bloomz --data ./data --task wmt22:de-en --task summaries.jsonl --shots 1 --batch 1,8 -o report.html
  $ shoal eval generation --task summaries.jsonl --beams 4 --no-repeat-ngram 3 --metric rouge

Scores generation (greedy, or of beams) with BLEU, chrF and ROUGE beside full depth's, counts tokens per second with and
without the prompt, and gives the perplexity of texts. With -o a run that is stopped goes on where it was when the same
command is given again.`

export function buildEvalGeneration(cli: Cli): Command {
  const command = new Command('generation')
    .summary('write translations, summaries, texts: BLEU, chrF, ROUGE, perplexity, speed')
    .description('Let a model write under several depths: translations, summaries and texts, their scores and speed.')
    .usage('[MODEL] --task NAME [options]')
  addTaskNames(
    command.argument('[model]', MODEL_HELP),
    'a task, a .jsonl file with one of your own, or a .txt file with a text',
  )
    .addOption(listOption('--shots <list>', 'examples before the item, such as 0,5', shotList, [0]))
    .addOption(repeatable('--depth <spec>', `${DEPTH_HELP}; default unified:2x`))
    .option('--max-tokens <n>', 'new tokens of an item at most', wholeNumber(1), 128)
    .addOption(listOption('--batch <sizes>', 'sequences at once, such as 1,8', numberList, [1]))
    .addOption(repeatable('--metric <name>', 'bleu, chrf or rouge; default all', metricName))
    .addOption(new Option('--tokenize <name>', 'of BLEU; default by the language').choices(BLEU_TOKENIZERS))
    .option(
      '--window <n>',
      'tokens of a text that are read at once; default 512, or as many as the model was trained on',
      wholeNumber(2),
    )
    .option('--prompt-length <n>', "a window's tokens at full depth; default 32", wholeNumber(1))
  addBeamOptions(command).option(
    '--no-repeat-ngram <n>',
    'no n tokens in a row come twice; 0 is off, the default',
    wholeNumber(0),
  )
  addModelOptions(addTaskOptions(addReportOptions(command))).addHelpText('after', EXAMPLES)
  return command.action((name: string | undefined, options: EvalGenerationOptions) =>
    tellWhenStopped(
      cli,
      () => keptBeside(options, 'keeps what is done'),
      () => evalGeneration(cli, name, options),
    ),
  )
}

async function evalGeneration(cli: Cli, name: string | undefined, options: EvalGenerationOptions): Promise<void> {
  const given = requireTasks(options)
  if (options.beams === undefined && options.lengthPenalty !== undefined)
    throw new UsageError('--length-penalty goes with --beams N')
  const { batch: batches } = options
  if (options.out !== undefined) reportPaths(options.out)
  const texts: TextTask[] = []
  for (const text of given.filter(isTextName)) texts.push(await loadText(text))
  const tasks = await loadTasks(
    given.filter((task) => !isTextName(task)),
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
      const { seed, limit, shots, tokenize, maxTokens, metric: metrics = GENERATION_METRICS } = options
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
      const result = await evaluateAndKeep(cli, options, {
        unit: 'parts',
        open: (path, settings) => openTurnsFile(path, model, generation, settings),
        run: (more) => evaluateGeneration(model, { ...generation, ...more }),
      })
      if (options.json) printJson(cli, reportJson(result))
      else show(cli, result, options)
    },
    { slots: Math.max(...batches) },
  )
}

function ngramOf({ repeatNgram }: EvalGenerationOptions): number {
  return typeof repeatNgram === 'number' ? repeatNgram : 0
}

function windowOf(model: Model, options: EvalGenerationOptions): { window: number; promptLength: number } {
  const window = options.window ?? Math.min(DEFAULT_WINDOW, trainedWindow(model.name), model.context)
  const promptLength = options.promptLength ?? Math.min(DEFAULT_PROMPT_LENGTH, Math.ceil(window / 2))
  if (window > model.context) throw new UsageError(`--window ${window}: the context holds ${model.context} tokens`)
  if (promptLength >= window) throw new UsageError(`--prompt-length ${promptLength} leaves nothing of ${window} tokens`)
  return { window, promptLength }
}

function beamsOf({ beams, lengthPenalty }: EvalGenerationOptions): BeamSettings | null {
  if (beams === undefined) return null
  return { beams, ...(lengthPenalty === undefined ? {} : { lengthPenalty }) }
}

function show(cli: Cli, report: EvalReport, { out: path }: EvalGenerationOptions): void {
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

function metricName(name: string): MetricFamily {
  const found = GENERATION_METRICS.find((metric) => metric === name)
  if (found === undefined) throw new InvalidArgumentError(`It must be one of ${GENERATION_METRICS.join(', ')}.`)
  return found
}
