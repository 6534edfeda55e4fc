import { type Command, InvalidArgumentError } from 'commander'
import type { Model } from '../engine/api.js'
import { fixed, interval, NONE } from '../evaluate/report/format.js'
import { snakeKeys } from '../evaluate/report/json.js'
import { SPEED_METHODS } from '../evaluate/speed-table/cases.js'
import {
  PUBLISHED_SETUP,
  PUBLISHED_SPEEDS,
  type PublishedSpeed,
  publishedSpeedup,
} from '../evaluate/speed-table/published.js'
import type { QualityOptions } from '../evaluate/speed-table/quality.js'
import { type SpeedCell, type SpeedTable, speedTable } from '../evaluate/speed-table/table.js'
import { loadTask, loadText, type Task } from '../tasks/index.js'
import { type Cli, note, printJson } from './cli.js'
import type { ModelOptions } from './model-options.js'
import { bar, createProgressLine } from './progress-line.js'
import { speedText } from './result.js'
import { printTable } from './table.js'
import { decimal, listOption, wholeNumber } from './values.js'

export interface TableOptions extends ModelOptions {
  readonly batch: readonly number[]
  readonly promptLength: number
  readonly maxTokens: number
  readonly rounds: number
  readonly speedup: readonly number[]
  readonly text: string
  readonly limit: number
  readonly windows?: number
  readonly quality: boolean
}

/** The bundled rule tasks. */
const TASKS = ['fruit_v_animal_3', 'capitalize', 'choose_first_of_3']

export function addTableOptions(command: Command): Command {
  return command
    .addOption(listOption('--speedup <list>', 'target speedups of the table, such as 2,3,5', speedupList, [2, 5]))
    .option('--text <file>', 'text whose perplexity the table has; prose is the bundled one', 'prose')
    .option('--limit <n>', 'questions of each rule task at most', wholeNumber(1), 20)
    .option('--windows <n>', 'windows of the text at most; default all', wholeNumber(1))
    .option('--no-quality', 'measure speed alone')
}

/** `shoal bench` without depths: Table 4 of Unified Layer Skipping, on this model and machine. */
export async function benchTable(cli: Cli, model: Model, options: TableOptions): Promise<void> {
  const { speedup: targets, batch, promptLength, maxTokens, rounds } = options
  const quality = await qualityOptions(cli, model, options)
  const line = createProgressLine(cli)
  const table = await speedTable(model, {
    targets: [...new Set(targets)].filter((target) => target > 1),
    batches: [...new Set(batch)],
    promptLength,
    maxTokens,
    rounds,
    quality,
    signal: cli.signal,
    onProgress: (what, share) => line.show(`${bar(share)} ${what}`),
  }).finally(() => line.clear())
  if (options.json) printJson(cli, { ...(snakeKeys(table) as object), published: published() })
  else show(cli, table)
  if (rounds < 3) note(cli, 'note: fewer than 3 rounds say little')
}

async function qualityOptions(
  cli: Cli,
  model: Model,
  { quality, text, limit, windows }: TableOptions,
): Promise<Omit<QualityOptions, 'signal' | 'onProgress'> | null> {
  if (!quality) return null
  if (model.tokenizer === null) {
    note(cli, `note: ${model.name} has no tokenizer, so there is no quality to measure`)
    return null
  }
  const tasks: Task[] = []
  for (const task of TASKS) tasks.push(await loadTask(task, { data: '' }))
  return { text: await loadText(text), tasks, questions: limit, windows: windows ?? null }
}

function show(cli: Cli, table: SpeedTable): void {
  const batches = [...new Set(table.cells.map(({ batch }) => batch))]
  const targets = [...new Set(table.cells.map(({ target }) => target))].sort((a, b) => a - b)
  const by = batches.join(' / ')
  const rows = targets.flatMap((target) =>
    SPEED_METHODS.flatMap((method) => {
      const cells = batches.flatMap((batch) =>
        table.cells.filter((cell) => cell.target === target && cell.method === method && cell.batch === batch),
      )
      const paper = PUBLISHED_SPEEDS.find((row) => row.target === target && row.method === method)
      return cells.length === 0 ? [] : [tableRow(cells), ...(paper === undefined ? [] : [paperRow(paper, batches)])]
    }),
  )
  printTable(cli, [
    [
      'target',
      'method',
      'depth',
      'perplexity',
      'accuracy',
      `output tok/s at ${by}`,
      'delivered',
      `all tok/s at ${by}`,
      'delivered (all)',
    ],
    ...rows,
  ])
  const { cells, text, tasks } = table
  cli.stdout.write('\n')
  for (const cell of cells) {
    if (cell.reason !== null) cli.stdout.write(`${cell.target}x ${cell.method}, batch ${cell.batch}: ${cell.reason}\n`)
    else if (cell.predicted !== null) cli.stdout.write(`${planText(cell)}\n`)
  }
  cli.stdout.write(
    [
      'output tok/s: tokens after the first of each sequence over the time of decoding; all tok/s: prompt and output over all time',
      ...(text === null
        ? []
        : [`perplexity of ${text}, accuracy of ${tasks.join(', ')} (5 shots, generated)${unitsText(cells)}`]),
      `paper: ${PUBLISHED_SETUP}`,
      `${table.model} · ${table.quantization} · ${table.layers} layers · prompt ${table.promptLength}, ${table.maxTokens} new tokens · medians of ${table.rounds} rounds`,
      '',
    ].join('\n'),
  )
}

function unitsText(cells: readonly SpeedCell[]): string {
  const quality = cells.find((cell) => cell.quality !== null)?.quality
  return quality ? `: ${quality.perplexity.n} windows, ${quality.accuracy?.n ?? 0} answers` : ''
}

/** One row of a target and method, with all its batch sizes; quality is that of the first. */
function tableRow(cells: readonly SpeedCell[]): string[] {
  const [first] = cells as [SpeedCell, ...SpeedCell[]]
  const each = (of: (cell: SpeedCell) => number | null, text: (value: number) => string): string =>
    cells.map((cell) => (of(cell) === null ? NONE : text(of(cell)!))).join(' / ')
  return [
    `${first.target}x`,
    first.method,
    first.depth ?? NONE,
    interval(first.quality?.perplexity ?? null, 2),
    interval(first.quality?.accuracy ?? null, 3),
    each((cell) => cell.outputTokensPerSecond, speedText),
    each((cell) => cell.delivered, times),
    each((cell) => cell.allTokensPerSecond, speedText),
    each((cell) => cell.deliveredAll, times),
  ]
}

function paperRow(row: PublishedSpeed, batches: readonly number[]): string[] {
  const each = (of: (batch: number) => number | null, text: (value: number) => string): string =>
    batches.map((batch) => (of(batch) === null ? NONE : text(of(batch)!))).join(' / ')
  return [
    `${row.target}x`,
    `${row.method} (paper)`,
    '',
    `BLEU ${fixed(row.bleu, 2)}`,
    '',
    '',
    '',
    each((batch) => row.tokensPerSecond[batch] ?? null, String),
    each((batch) => publishedSpeedup(row, batch), times),
  ]
}

function planText({ target, batch, plan, predicted, delivered, quality }: SpeedCell): string {
  const layers = plan === null ? '' : ` keeps ${plan.length} layers (${plan.join(',')}),`
  const perplexity = quality === null ? '' : `, perplexity ${fixed(quality.perplexity.mean, 2)}`
  return `${target}x unified, batch ${batch}:${layers} predicted ${times(predicted)}, delivered ${times(delivered)}${perplexity}`
}

function times(value: number | null): string {
  return value === null ? NONE : `${value.toFixed(2)}x`
}

function published(): object[] {
  return PUBLISHED_SPEEDS.flatMap((row) =>
    Object.entries(row.tokensPerSecond).map(([batch, perSecond]) => ({
      target: row.target,
      method: row.method,
      batch: Number(batch),
      bleu: row.bleu,
      all_tokens_per_second: perSecond,
      delivered_all: publishedSpeedup(row, Number(batch)),
    })),
  )
}

function speedupList(text: string): number[] {
  return text.split(',').map((part) => {
    const target = decimal(1)(part.trim().replace(/x$/, ''))
    if (!Number.isFinite(target)) throw new InvalidArgumentError('It must be speedups such as 2,5.')
    return target
  })
}
