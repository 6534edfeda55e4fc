import type { GeneralisationMatrix } from '../result.js'
import { fixed, interval, signed } from './format.js'
import { element, type Figure, lineElement, round, shorten, textElement, textWidth, tooltip } from './svg.js'

/** A figure of the matrix: what it shows and how its numbers are coloured. */
export interface MatrixMeasure {
  readonly name: string
  readonly title: string
  readonly unit: string
  /** Which way is good, for the description. */
  readonly reading: string
  values(matrix: GeneralisationMatrix): readonly (readonly number[])[]
  text(value: number): string
  /** With its interval where it has one. */
  cell(matrix: GeneralisationMatrix, row: number, column: number): string
  /** Two colours around zero, or one from the least to the largest value. */
  readonly diverging: boolean
}

export const MATRIX_MEASURES: readonly MatrixMeasure[] = [
  {
    name: 'generalisation-accuracy',
    title: 'Generalisation: accuracy less that of full depth',
    unit: 'accuracy difference',
    reading: 'Orange cells lose accuracy, blue cells gain.',
    values: (matrix) => matrix.accuracyDifference.map((row) => row.map(({ mean }) => mean)),
    text: (value) => signed(value, 3),
    cell: (matrix, r, c) => interval(matrix.accuracyDifference[r]?.[c] ?? null, 3, signed),
    diverging: true,
  },
  {
    name: 'generalisation-agreement',
    title: 'Generalisation: agreement with full depth',
    unit: 'share of prompts',
    reading: 'Stronger cells agree more often.',
    values: (matrix) => matrix.agreement,
    text: (value) => fixed(value, 3),
    cell: (matrix, r, c) => fixed(matrix.agreement[r]?.[c] ?? null, 3),
    diverging: false,
  },
  {
    name: 'generalisation-depth',
    title: 'Generalisation: mean depth',
    unit: 'layers',
    reading: 'Stronger cells run more layers.',
    values: (matrix) => matrix.depthMean,
    text: (value) => fixed(value, 1),
    cell: (matrix, r, c) => fixed(matrix.depthMean[r]?.[c] ?? null, 1),
    diverging: false,
  },
]

const WIDTH = 960
const LEAST_WIDTH = 560
const EDGE = 12
const TOP = 56
const ROW = 28
/** The strongest colour still leaves the numbers readable on both backgrounds. */
const STRONGEST = 0.6

/** Trained on a row's task, tested on a column's: one number a cell, cells of one group framed together. */
export function heatMap(matrix: GeneralisationMatrix, measure: MatrixMeasure, subtitle: string): Figure {
  const { train, test } = matrix
  const values = measure.values(matrix)
  const shade = shading(values.flat(), measure.diverging)
  const labelWidth = Math.min(200, Math.max(60, ...train.map(({ name }) => textWidth(name, 12) + 12)))
  const left = EDGE + 22 + labelWidth
  const cell = Math.min(84, Math.max(16, (WIDTH - left - 90) / Math.max(1, test.length)))
  const size = cell >= 44 ? 12 : cell >= 34 ? 10 : 0
  const slanted = test.some(({ name }) => textWidth(name, 12) > cell - 8)
  const headHeight = slanted ? 26 + Math.min(110, Math.max(...test.map(({ name }) => textWidth(name, 12))) * 0.72) : 40
  const top = TOP + headHeight
  const bottom = top + train.length * ROW
  const right = left + test.length * cell
  // Slanted names reach beyond the last column.
  const width = Math.max(LEAST_WIDTH, right + (slanted ? headHeight * 0.8 : 0) + EDGE)
  let body = textElement(EDGE, 26, shorten(measure.title, width - 2 * EDGE, 16), { size: 16, bold: true })
  body += textElement(EDGE, 44, shorten(subtitle, width - 2 * EDGE, 12), { class: 'f-dim' })
  body += textElement(left, TOP + 14, 'tested on', { class: 'f-dim', size: 11 })
  body += textElement(EDGE + 12, (top + bottom) / 2, 'trained on', {
    class: 'f-dim',
    size: 11,
    anchor: 'middle',
    rotate: -90,
  })
  test.forEach(({ name }, c) => {
    const x = left + (c + 0.5) * cell
    body += slanted
      ? textElement(x - 2, top - 6, shorten(name, 140, 12), { rotate: -45 })
      : textElement(x, top - 8, name, { anchor: 'middle' })
  })
  train.forEach((row, r) => {
    const { name } = row
    const y = top + r * ROW
    body += textElement(left - 8, y + 18, shorten(name, labelWidth - 8, 12), { anchor: 'end' })
    test.forEach((column, c) => {
      const value = values[r]?.[c] ?? Number.NaN
      const x = left + c * cell
      const text = tooltip(`trained on ${name}, tested on ${column.name}: ${measure.cell(matrix, r, c)}`)
      const own = row.model === column.model && row.tasks.length === 1 && row.tasks[0] === column.task
      const box = { x: x + 1, y: y + 1, width: cell - 2, height: ROW - 2, rx: 2 }
      const { color, opacity } = shade(value)
      const fill = element('rect', { ...box, fill: 'currentColor', 'fill-opacity': opacity }, text)
      body += element('g', { class: color }, fill)
      if (own) body += element('rect', { ...box, class: 'f-ring', fill: 'none', 'stroke-width': 1.5 })
      if (size > 0) {
        body += textElement(x + cell / 2, y + 18, measure.text(value), {
          anchor: 'middle',
          size,
          class: Number.isFinite(value) ? 'f-text' : 'f-dim',
        })
      }
    })
  })
  for (const border of groupBorders(test)) {
    const x = left + border * cell
    body += lineElement(x, top - 4, x, bottom + 4, { class: 'f-ring', 'stroke-width': 1.5 })
  }
  for (const border of groupBorders(train)) {
    const y = top + border * ROW
    body += lineElement(left - 4, y, right + 4, y, { class: 'f-ring', 'stroke-width': 1.5 })
  }
  body += colorKey(values.flat(), measure, shade, left, bottom + 18)
  return {
    name: measure.name,
    title: measure.title,
    description:
      `${measure.unit} of ${matrix.policy} trained on the task of a row and tested on that of a column. ` +
      `${measure.reading} Outlined cells are tested on the task they were trained on; lines part task groups and models.`,
    width,
    height: bottom + 62,
    body,
  }
}

interface Shade {
  readonly color: string
  readonly opacity: number
}

function shading(values: readonly number[], diverging: boolean): (value: number) => Shade {
  const finite = values.filter(Number.isFinite)
  const low = Math.min(...finite)
  const high = Math.max(...finite)
  const most = Math.max(...finite.map(Math.abs), 1e-9)
  return (value) => {
    if (!Number.isFinite(value)) return { color: 'f-c0', opacity: 0.06 }
    if (diverging) return { color: value < 0 ? 'f-c2' : 'f-c1', opacity: (Math.abs(value) / most) * STRONGEST }
    const share = high > low ? (value - low) / (high - low) : 1
    return { color: 'f-c1', opacity: 0.05 + share * (STRONGEST - 0.05) }
  }
}

/** Rows or columns before which another group or model begins. */
function groupBorders(lines: readonly { readonly model: string; readonly group: string }[]): number[] {
  return lines.flatMap(({ model, group }, i) => {
    const before = lines[i - 1]
    return before !== undefined && (before.model !== model || before.group !== group) ? [i] : []
  })
}

function colorKey(
  values: readonly number[],
  measure: MatrixMeasure,
  shade: (value: number) => Shade,
  left: number,
  top: number,
): string {
  const finite = values.filter(Number.isFinite)
  if (finite.length === 0) return ''
  const most = Math.max(...finite.map(Math.abs))
  const low = measure.diverging ? -most : Math.min(...finite)
  const high = measure.diverging ? most : Math.max(...finite)
  const steps = 24
  let body = ''
  for (let i = 0; i < steps; i++) {
    const { color, opacity } = shade(low + ((high - low) * i) / (steps - 1))
    const box = { x: left + i * 8, y: top, width: 8, height: 12, fill: 'currentColor', 'fill-opacity': round(opacity) }
    body += element('g', { class: color }, element('rect', box))
  }
  const right = left + steps * 8
  body += textElement(left, top + 27, measure.text(low), { size: 11, class: 'f-dim' })
  body += textElement(right, top + 27, measure.text(high), { size: 11, class: 'f-dim', anchor: 'end' })
  return body + textElement(right + 10, top + 10, measure.unit, { size: 11, class: 'f-dim' })
}
