import type { GeneralisationMatrix } from '../result.js'
import { fixed, NONE } from './format.js'
import { MATRIX_MEASURES } from './heat-map.js'
import type { Table } from './table.js'

/** Explains the mark of `matrixCell`. */
export const MATRIX_KEY =
  'Accuracy on the test prompts @ mean layers run. *: fewer right than full depth, beyond chance (95% paired bootstrap interval).'

/** What a row's classifier does on a column's task, as the paper has it: `0.981 @ 9.4`. */
export function matrixCell(matrix: GeneralisationMatrix, row: number, column: number): string {
  const accuracy = fixed(matrix.accuracy[row]?.[column] ?? null, 3)
  if (accuracy === NONE) return NONE
  const { high } = matrix.accuracyDifference[row]?.[column] ?? { high: Number.NaN }
  return `${accuracy} @ ${fixed(matrix.depthMean[row]?.[column] ?? null, 1)}${high < 0 ? ' *' : ''}`
}

/** Full depth's row of the same table: `0.985 @ 16`. */
export function fullDepthCell({ test }: GeneralisationMatrix, column: number): string {
  const { accuracy, layers } = test[column] ?? { accuracy: Number.NaN, layers: 0 }
  return `${fixed(accuracy, 3)} @ ${layers}`
}

/** What each row's thresholds give on questions of its own tasks that a random split held out: median (5% to 95%). */
function splitsTable({ train }: GeneralisationMatrix): Table {
  const range = (values: readonly [number, number, number] | null | undefined, digits: number): string => {
    if (values === null || values === undefined) return NONE
    const [low, median, high] = values.map((value) => fixed(value, digits))
    return `${median} (${low} to ${high})`
  }
  return {
    id: 'splits',
    title: 'Thresholds over random splits',
    columns: [
      { name: 'group', numeric: false, shared: true },
      { name: 'trained on', numeric: false },
      ...['splits', 'layers', 'agreement', 'answers lost'].map((name) => ({ name, numeric: true })),
    ],
    rows: train.map(({ group, name, splits }) => [
      group,
      name,
      splits === null ? NONE : String(splits.count),
      range(splits?.mean_layers, 2),
      range(splits?.agreement, 3),
      range(splits?.losses, 3),
    ]),
    notes: ['Median over the splits (5% to 95%), each on the calibration questions that it held out.'],
    detail: true,
  }
}

/** The table as the paper has it, then one for each measure that the heat maps show. */
export function matrixTables({ matrix }: { readonly matrix: GeneralisationMatrix | null }): Table[] {
  if (matrix === null) return []
  const { train, test } = matrix
  const columns = [
    { name: 'group', numeric: false, shared: true },
    { name: 'trained on \\ tested on', numeric: false },
    ...test.map(({ name }) => ({ name, numeric: true })),
  ]
  const rows = (text: (row: number, column: number) => string): string[][] =>
    train.map(({ name, group }, r) => [group, name, ...test.map((_, c) => text(r, c))])
  const policy = `Policy: ${matrix.policy}, threshold for ${matrix.target}, ${matrix.shots} shots.`
  const prompts = test.map(({ name, prompts: count }) => `${name} ${count}`).join(', ')
  return [
    {
      id: 'generalisation',
      title: 'Generalisation: accuracy @ layers',
      columns,
      rows: [
        ['', 'full depth', ...test.map((_, c) => fullDepthCell(matrix, c))],
        ...rows((r, c) => matrixCell(matrix, r, c)),
      ],
      notes: [policy, MATRIX_KEY, `Test prompts: ${prompts}.`, ...matrix.notes],
      detail: false,
    },
    splitsTable(matrix),
    ...MATRIX_MEASURES.map((measure) => ({
      id: measure.name,
      title: measure.title,
      columns,
      rows: rows((r, c) => measure.cell(matrix, r, c)),
      notes: [policy],
      detail: false,
    })),
  ]
}
