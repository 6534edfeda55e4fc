import type { EvalCell, EvalReport } from '../result.js'
import { fixed, grouped, interval, NONE, signed, timeDecimals } from './format.js'
import { generationTables } from './generation-tables.js'
import { matrixTables } from './matrix-tables.js'
import type { Column, Table } from './table.js'

/** Stands behind a number of shots whose prompts were longer than the model's training window. */
const BEYOND = '†'

/** Every number of a report. */
export function reportTables(report: EvalReport): Table[] {
  const tables: Table[] = []
  if (report.overall.length > 0) tables.push(cellTable('overall', 'All tasks', report.overall))
  if (report.cells.length > 0) tables.push(cellTable('tasks', 'By task', report.cells), histogramTable(report))
  if (report.curves.length > 0) tables.push(curveTable(report))
  return [...tables, ...generationTables(report), ...matrixTables(report)]
}

const F1 = 'F1'

interface CellColumn extends Column {
  text(cell: EvalCell): string
}

const CELL_COLUMNS: readonly CellColumn[] = [
  { name: 'task', numeric: false, shared: true, text: (cell) => cell.task },
  { name: 'group', numeric: false, shared: true, text: (cell) => cell.group },
  { name: 'shots', numeric: true, shared: true, text: shotsText },
  { name: 'depth', numeric: false, text: (cell) => cell.depth },
  { name: 'accuracy', numeric: true, text: (cell) => interval(cell.accuracy, 3) },
  { name: F1, numeric: true, text: (cell) => interval(cell.f1, 3) },
  { name: 'against full', numeric: true, text: (cell) => interval(cell.accuracyDifference, 3, signed) },
  { name: 'agreement', numeric: true, text: (cell) => interval(cell.agreement, 3) },
  { name: 'mean depth', numeric: true, text: (cell) => interval(cell.depthMean, 2) },
  { name: 'pruned', numeric: true, text: (cell) => percent(cell.pruningRatio) },
  { name: 'FLOPs', numeric: true, text: (cell) => fixed(cell.flopsRatio, 3) },
  { name: 'FLOPs with checks', numeric: true, text: (cell) => fixed(cell.flopsRatioWithChecks, 3) },
  {
    name: 'ms per answer',
    numeric: true,
    text: (cell) => interval(cell.answerMs, timeDecimals(cell.answerMs?.mean ?? 0)),
  },
  { name: 'time ratio', numeric: true, text: (cell) => interval(cell.timeRatio, 3) },
  { name: 'checks', numeric: true, text: (cell) => percent(cell.checkShare) },
  { name: 'prompts', numeric: true, text: (cell) => grouped(cell.prompts) },
  { name: 'skipped', numeric: true, text: (cell) => grouped(cell.skipped) },
]

function cellTable(id: string, title: string, cells: readonly EvalCell[]): Table {
  const squad = cells.some((cell) => cell.f1 !== null)
  const hidden = [...(id === 'overall' ? ['task', 'group'] : []), ...(squad ? [] : [F1])]
  const columns = CELL_COLUMNS.filter(({ name }) => !hidden.includes(name))
  const notes = [
    'Intervals are of 95%: bootstrap, of fewer than 30 units a t or BCa interval. FLOPs and time ratio are against full depth on the same prompts; pruned is 1 - mean depth / L; ' +
      'checks is the share of the time that exit checks took.',
  ]
  if (squad) notes.push("Accuracy of generated SQuAD answers is exact match; both it and F1 are SQuAD's official ones.")
  if (cells.some((cell) => cell.answerMs === null)) notes.push(`${NONE}: computed from traces, so there is no time.`)
  if (cells.some((cell) => cell.beyondWindow)) {
    notes.push(`${BEYOND}: prompts were longer than the window that the model was trained on.`)
  }
  const rows = cells.map((cell) => columns.map((column) => column.text(cell)))
  return { id, title, columns, rows, notes, detail: false }
}

function shotsText(cell: EvalCell): string {
  const used = Math.abs(cell.shotsUsed - cell.shots) < 0.05 ? '' : ` (${fixed(cell.shotsUsed, 1)} fitted)`
  return `${cell.shots}${used}${cell.beyondWindow ? ` ${BEYOND}` : ''}`
}

function percent(share: number | null): string {
  const text = fixed(share === null ? null : share * 100, 1)
  return text === NONE ? NONE : `${text}%`
}

function histogramTable(report: EvalReport): Table {
  const depths = Array.from({ length: report.layers }, (_, i) => ({ name: String(i + 1), numeric: true }))
  return {
    id: 'histogram',
    title: 'Prompts by depth',
    columns: [...shared(words('task')), ...shared(numbers('shots')), ...words('depth'), ...depths],
    rows: report.cells.map((cell) => [
      cell.task,
      String(cell.shots),
      cell.depth,
      ...depths.map((_, i) => fixed(cell.histogram[i] ?? 0, 0)),
    ]),
    notes: ['Columns count the layers run when the answer was given.'],
    detail: true,
  }
}

function curveTable(report: EvalReport): Table {
  const layers = Array.from({ length: report.layers }, (_, i) => ({ name: String(i), numeric: true }))
  return {
    id: 'exit-features',
    title: 'Exit features by layer',
    columns: [...shared(words('task')), ...words('feature', 'difficulty'), ...numbers('instances'), ...layers],
    rows: report.curves.flatMap((curve) =>
      (
        [
          ['gap', curve.gap],
          ['top probability', curve.topProb],
        ] as const
      ).map(([feature, values]) => [
        curve.task,
        feature,
        curve.difficulty,
        grouped(curve.instances),
        ...layers.map((_, i) => fixed(values[i] ?? null, 3)),
      ]),
    ),
    notes: ['Means over instances; layers are counted from 0. Easy: the answer is settled early.'],
    detail: true,
  }
}

function shared(columns: readonly Column[]): Column[] {
  return columns.map((column) => ({ ...column, shared: true }))
}

function words(...names: readonly string[]): Column[] {
  return names.map((name) => ({ name, numeric: false }))
}

function numbers(...names: readonly string[]): Column[] {
  return names.map((name) => ({ name, numeric: true }))
}
