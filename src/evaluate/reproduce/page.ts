import { escapeMarkdown } from '../report/escape.js'
import { fixed, interval, signed } from '../report/format.js'
import type { Interval } from '../result.js'
import type { ReproducedCell } from './adainfer.js'
import { CLAIMS, PAPER, PUBLISHED, type PublishedFigure } from './published.js'

export const HEADER = [
  'task',
  'shots',
  'model',
  'rule',
  'n',
  'accuracy',
  'to full',
  'agrees',
  'layers',
  'FLOPs',
  'with checks',
  'source',
] as const

/** What a run has beside its cells. */
export interface Reproduction {
  readonly cells: readonly ReproducedCell[]
  /** A line for each task that is left out. */
  readonly missing: readonly string[]
  /** ISO 8601. */
  readonly date: string
  readonly seed: number
  /** Questions of a set at most; null for all. */
  readonly limit: number | null
}

/**
 * The table, a row per task, shots, model and rule, and under each task what is published of it. Accuracy and its
 * difference to full depth are in per cent and points, as in the paper.
 */
export function tableRows(cells: readonly ReproducedCell[]): string[][] {
  const sets = [...new Set(cells.map(({ set }) => set))]
  return sets.flatMap((set) => {
    const own = cells.filter((cell) => cell.set === set)
    const shots = [...new Set(own.map((cell) => cell.shots))]
    return [
      ...shots.flatMap((count) => own.filter((cell) => cell.shots === count).map(measuredRow)),
      ...PUBLISHED.filter(({ task }) => task === set).map(publishedRow),
    ]
  })
}

function measuredRow({ set, shots, model, layers, rule, result, note }: ReproducedCell): string[] {
  if (result === null) return [set, String(shots), model, rule, '', '', '', '', '', '', '', note ?? '']
  const used = Math.abs(result.shotsUsed - shots) < 0.05 ? '' : ` (${fixed(result.shotsUsed, 1)})`
  const full = rule === 'full'
  return [
    set,
    `${shots}${used}${result.beyondWindow ? ' *' : ''}`,
    model,
    rule,
    String(result.prompts),
    interval(scaled(result.accuracy), 1),
    full ? '' : interval(scaled(result.accuracyDifference), 1, signed),
    full ? '' : fixed(100 * result.agreement.mean, 1),
    `${fixed(result.depthMean.mean, 2)} of ${layers}`,
    fixed(result.flopsRatio, 2),
    fixed(result.flopsRatioWithChecks, 2),
    note ?? '',
  ]
}

function publishedRow(figure: PublishedFigure): string[] {
  const { task, model, layers, rule, accuracy, accuracyDifference, depthMean, flopsRatio, source } = figure
  return [
    task,
    '',
    `${model} (published)`,
    rule,
    '',
    accuracy === null ? '' : fixed(100 * accuracy, 2),
    accuracyDifference === null ? '' : signed(100 * accuracyDifference, 2),
    '',
    depthMean === null ? '' : `${fixed(depthMean, 2)} of ${layers}`,
    flopsRatio === null ? '' : fixed(flopsRatio, 2),
    '',
    source ?? '',
  ]
}

function scaled({ mean, low, high, n }: Interval): Interval {
  return { mean: 100 * mean, low: 100 * low, high: 100 * high, n }
}

/** One point of accuracy cannot be seen on fewer questions. */
const ENOUGH = 100

/** What a reader of the table must know. */
export function tableNotes({ cells, missing }: Pick<Reproduction, 'cells' | 'missing'>): string[] {
  const beyond = cells.some(({ result }) => result?.beyondWindow)
  const fewer = cells.some(({ result }) => result !== null && result.shotsUsed < result.shots)
  const skipped = cells.reduce((sum, { rule, result }) => sum + (rule === 'full' ? (result?.skipped ?? 0) : 0), 0)
  const least = Math.min(...cells.map(({ trained }) => trained || Number.POSITIVE_INFINITY))
  return [
    'accuracy in per cent and its difference to full depth in points, with 95% intervals; FLOPs against full depth',
    ...(beyond ? ['* prompts longer than the 256 tokens that the bundled models were trained on'] : []),
    ...(fewer ? ['shots in brackets: how many fitted the context on average'] : []),
    ...(skipped > 0 ? [`${skipped} questions do not fit the context and were skipped`] : []),
    ...(least < ENOUGH
      ? [`thresholds were chosen on as few as ${least} questions, where a loss of at most one point is left to chance`]
      : []),
    ...missing,
  ]
}

/** The reproduction in GitHub's Markdown. */
export function reproductionMarkdown(run: Reproduction): string {
  const { cells, date, seed, limit } = run
  const models = [...new Set(cells.map(({ model, quantization }) => `${model} (${quantization})`))]
  const facts = [
    `models: ${models.join(', ')}`,
    `questions: ${limit === null ? 'all' : `at most ${limit} of a task`}, seed ${seed}; half give the results, the others fit the classifiers; paper-svm and paper-crf are one classifier for all layers at its own boundary, the thresholds of adainfer-svm and adainfer-crf are chosen over 20 random splits`,
    `date: ${date.slice(0, 10)}`,
  ]
  return [
    '# AdaInfer beside its paper',
    `${PAPER}, measured by \`shoal reproduce adainfer\`. Rows marked as published are of others' models and setups; empty cells are not known.`,
    facts.map(item).join('\n'),
    table([...HEADER], tableRows(cells)),
    tableNotes(run).map(item).join('\n'),
    'Published over several tasks:',
    table(['what', 'figure', 'source'], claimRows()),
  ]
    .join('\n\n')
    .concat('\n')
}

export function claimRows(): string[][] {
  return CLAIMS.map(({ what, figure, source }) => [what, figure, source])
}

function item(text: string): string {
  return `- ${escapeMarkdown(text)}`
}

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map(escapeMarkdown).join(' | ')} |`
  return [line(header), `|${header.map(() => '---|').join('')}`, ...rows.map(line)].join('\n')
}
