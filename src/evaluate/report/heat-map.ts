import type { GeneralisationMatrix } from '../result.js'
import { fixed, interval, signed } from './format.js'
import { drawHead, EDGE, type Page } from './panel.js'
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

const LEAST_WIDTH = 560
const ROW = 28
/** Narrower columns would make their names cover each other. */
const LEAST_CELL = 18
/** The strongest colour still leaves the numbers readable on both backgrounds. */
const STRONGEST = 0.6

/**
 * Trained on a row's task, tested on a column's: one number a cell, cells of one group framed together. Columns that do
 * not fit beside each other go below, with the rows' names again.
 */
export function heatMap(matrix: GeneralisationMatrix, measure: MatrixMeasure, subtitle: string, page: Page): Figure {
  const { train, test } = matrix
  const values = measure.values(matrix)
  const shade = shading(values.flat(), measure.diverging)
  const names = [...train, ...test].map(({ name }) => textWidth(name, 12))
  const upright = page.columns === 1
  const left = EDGE + 22 + Math.min(page.width * 0.3, 200, Math.max(60, ...names.slice(0, train.length)) + 12)
  const overhang = upright ? 0 : 100
  const most = Math.max(1, Math.floor((page.width - left - overhang - EDGE) / LEAST_CELL))
  const blocks = Math.max(1, Math.ceil(test.length / most))
  const columns = Math.max(1, Math.ceil(test.length / blocks))
  const cell = Math.min(84, (page.width - left - overhang - EDGE) / columns)
  const longest = Math.max(0, ...names.slice(train.length))
  const slanted = longest > cell - 8
  const nameWidth = Math.min(140, longest)
  const head = slanted ? 26 + nameWidth * (upright ? 1 : 0.72) : 40
  // Slanted names reach beyond the last column.
  const right = left + columns * cell + (slanted && !upright ? head * 0.8 : 0)
  const width = Math.max(Math.min(LEAST_WIDTH, page.width), right + EDGE)
  const title = drawHead(measure.title, subtitle, width)
  let { body } = title
  let y = title.bottom + 12
  for (let from = 0; from < Math.max(1, test.length); from += columns) {
    const top = y + head
    const shown = test.slice(from, from + columns)
    const bottom = top + train.length * ROW
    body += textElement(left, y + 14, 'tested on', { class: 'f-dim', size: 11 })
    if (train.length > 2) {
      const options = { class: 'f-dim', size: 11, anchor: 'middle', rotate: -90 } as const
      body += textElement(EDGE + 12, (top + bottom) / 2, 'trained on', options)
    }
    shown.forEach(({ name }, c) => {
      const x = left + (c + 0.5) * cell
      if (!slanted) body += textElement(x, top - 8, name, { anchor: 'middle' })
      else if (upright) body += textElement(x + 4, top - 6, shorten(name, nameWidth, 12), { rotate: -90 })
      else body += textElement(x - 2, top - 6, shorten(name, nameWidth, 12), { rotate: -45 })
    })
    train.forEach((row, r) => {
      const place = top + r * ROW
      body += textElement(left - 8, place + 18, shorten(row.name, left - EDGE - 30, 12), { anchor: 'end' })
      shown.forEach((column, c) => {
        const own = row.model === column.model && row.tasks.length === 1 && row.tasks[0] === column.task
        const text = `trained on ${row.name}, tested on ${column.name}: ${measure.cell(matrix, r, from + c)}`
        const value = values[r]?.[from + c] ?? Number.NaN
        body += heatCell({ x: left + c * cell, y: place, width: cell, value, text, own, shade, measure })
      })
    })
    for (const border of groupBorders(shown)) {
      const x = left + border * cell
      body += lineElement(x, top - 4, x, bottom + 4, { class: 'f-ring', 'stroke-width': 1.5 })
    }
    for (const border of groupBorders(train)) {
      const place = top + border * ROW
      const end = left + shown.length * cell + 4
      body += lineElement(left - 4, place, end, place, { class: 'f-ring', 'stroke-width': 1.5 })
    }
    y = bottom + 18
  }
  body += colorKey(values.flat(), measure, shade, upright ? EDGE : left, y)
  return {
    name: measure.name,
    title: measure.title,
    description:
      `${measure.unit} of ${matrix.policy} trained on the task of a row and tested on that of a column. ` +
      `${measure.reading} Outlined cells are tested on the task they were trained on; lines part task groups and models.`,
    width,
    height: y + 44,
    body,
  }
}

interface HeatCell {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly value: number
  /** For a pointer that rests on it. */
  readonly text: string
  /** Tested on the task that it was trained on. */
  readonly own: boolean
  readonly shade: (value: number) => Shade
  readonly measure: MatrixMeasure
}

function heatCell({ x, y, width, value, text, own, shade, measure }: HeatCell): string {
  const box = { x: x + 1, y: y + 1, width: width - 2, height: ROW - 2, rx: 2 }
  const { color, opacity } = shade(value)
  const fill = element('rect', { ...box, fill: 'currentColor', 'fill-opacity': opacity }, tooltip(text))
  let body = element('g', { class: color }, fill)
  if (own) body += element('rect', { ...box, class: 'f-ring', fill: 'none', 'stroke-width': 1.5 })
  const number = measure.text(value)
  const size = [12, 10].find((wanted) => textWidth(number, wanted) <= width - 4)
  if (size === undefined) return body
  const style = Number.isFinite(value) ? 'f-text' : 'f-dim'
  return body + textElement(x + width / 2, y + 18, number, { anchor: 'middle', size, class: style })
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
