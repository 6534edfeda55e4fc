import type {
  EvalReport,
  GenerationCell,
  GenerationEvaluation,
  GenerationMetric,
  Interval,
  TextCell,
} from '../result.js'
import { fixed, grouped, interval, NONE, signed } from './format.js'
import type { Table } from './table.js'

/** A column of text from a cell of any kind. */
export interface TextColumn<T> {
  readonly name: string
  readonly numeric: boolean
  readonly shared?: boolean
  text(cell: T): string
}

const METRICS: Readonly<Record<GenerationMetric, { readonly name: string; readonly decimals: number }>> = {
  bleu: { name: 'BLEU', decimals: 2 },
  chrf: { name: 'chrF', decimals: 2 },
  rouge1: { name: 'ROUGE-1', decimals: 3 },
  rouge2: { name: 'ROUGE-2', decimals: 3 },
  rougeL: { name: 'ROUGE-L', decimals: 3 },
}

/** Columns of generated answers; those of metrics that nobody asked for are left out. */
export function generationColumns(
  cells: readonly GenerationCell[],
  shown: (metric: GenerationMetric) => boolean = () => true,
): TextColumn<GenerationCell>[] {
  const metrics = [...new Set(cells.flatMap(({ quality }) => quality.map(({ metric }) => metric)))].filter(shown)
  return [
    shared(word('task', (cell) => cell.task)),
    shared(number('shots', shotsText)),
    shared(number('batch', (cell) => String(cell.batch))),
    word('depth', (cell) => cell.depth),
    ...metrics.flatMap((metric) => metricColumns(metric)),
    number('identical', (cell) => interval(cell.identical, 3)),
    number('agreement', (cell) => interval(cell.agreement, 3)),
    number('tokens', (cell) => interval(cell.outputTokens, 1)),
    number('mean depth', (cell) => interval(cell.depthMean, 2)),
    number('computed', (cell) => interval(cell.rowLayersPerToken, 2)),
    number('output tok/s', (cell) => rate(cell.outputTokensPerSecond)),
    number('speedup', (cell) => times(cell.speedup)),
    number('all tok/s', (cell) => rate(cell.allTokensPerSecond)),
    number('speedup (all)', (cell) => times(cell.allSpeedup)),
    number('n', (cell) => grouped(cell.sequences)),
  ]
}

export const TEXT_COLUMNS: readonly TextColumn<TextCell>[] = [
  shared(word('text', (cell) => cell.task)),
  word('depth', (cell) => cell.depth),
  number('perplexity', (cell) => interval(cell.perplexity, 2)),
  number('against full', (cell) => interval(cell.perplexityRatio, 3)),
  number('agreement', (cell) => interval(cell.agreement, 3)),
  number('mean depth', (cell) => interval(cell.depthMean, 2)),
  number('windows', (cell) => grouped(cell.windows)),
  number('tokens', (cell) => grouped(cell.tokens)),
]

export const GENERATION_NOTES: readonly string[] = [
  'Intervals are of 95% (bootstrap; of fewer than 30 units a t or BCa interval), those of speeds over batches. Differences and speedups are ' +
    'against full depth at the same batch size.',
  'identical: sequences with the tokens of full depth; agreement: tokens up to the first difference, as a share of the ' +
    'longer sequence; computed: layers per new token, catch-up included.',
  'output tok/s counts the tokens after the first of each sequence over the time of decoding; all tok/s counts prompt and ' +
    'new tokens over all time, as Unified Layer Skipping (arXiv 2404.06954) does.',
]

/** `Greedy decoding, at most 128 new tokens` */
export function decodingText({ beams, noRepeatNgram, maxTokens }: GenerationEvaluation): string {
  const how = beams === null ? 'Greedy decoding' : `Beam search with ${beams} beams`
  const repeats = noRepeatNgram === 0 ? '' : `, no ${noRepeatNgram} tokens twice`
  return `${how}${repeats}, at most ${maxTokens} new tokens`
}

/** What generation gave: answers beside their references, and texts that were foreseen. */
export function generationTables({ generation }: EvalReport): Table[] {
  if (generation === null) return []
  const { cells, texts, window, promptLength } = generation
  const tables: Table[] = []
  if (cells.length > 0) {
    tables.push(
      table('generation', 'Generation', generationColumns(cells), cells, [
        ...GENERATION_NOTES,
        `${decodingText(generation)}.`,
      ]),
    )
  }
  if (texts.length > 0) {
    const notes = [
      `Windows of ${window} tokens; the first ${promptLength} run at full depth and are not scored. Agreement: fed tokens after which the most probable next one is that of full depth.`,
    ]
    tables.push(table('texts', 'Perplexity', TEXT_COLUMNS, texts, notes))
  }
  return tables
}

function table<T>(
  id: string,
  title: string,
  columns: readonly TextColumn<T>[],
  cells: readonly T[],
  notes: readonly string[],
): Table {
  const rows = cells.map((cell) => columns.map((column) => column.text(cell)))
  return { id, title, columns, rows, notes, detail: false }
}

function metricColumns(metric: GenerationMetric): TextColumn<GenerationCell>[] {
  const { name, decimals } = METRICS[metric]
  const of = (cell: GenerationCell) => cell.quality.find((quality) => quality.metric === metric)
  return [
    number(name, (cell) => interval(of(cell)?.score ?? null, decimals)),
    number(`${name} to full`, (cell) =>
      cell.depth === 'full' ? NONE : interval(of(cell)?.difference ?? null, decimals, signed),
    ),
  ]
}

function shotsText({ shots, shotsUsed }: GenerationCell): string {
  return Math.abs(shotsUsed - shots) < 0.05 ? String(shots) : `${shots} (${fixed(shotsUsed, 1)} fitted)`
}

function rate(value: Interval): string {
  return interval(value, value.mean >= 100 ? 0 : 1)
}

function times(value: Interval): string {
  return interval(value, 2)
}

function shared<T>(column: TextColumn<T>): TextColumn<T> {
  return { ...column, shared: true }
}

function word<T>(name: string, text: (cell: T) => string): TextColumn<T> {
  return { name, numeric: false, text }
}

function number<T>(name: string, text: (cell: T) => string): TextColumn<T> {
  return { name, numeric: true, text }
}
