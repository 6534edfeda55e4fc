import type { Scale } from './scale.js'
import { marker, type Series } from './series.js'
import { element, type Figure, lineElement, shorten, textElement, textWidth, wrapText } from './svg.js'

/** A rectangle of the page, in pixels. */
export interface Box {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

/** One of the small charts that a figure is made of. */
export interface Panel {
  readonly height: number
  draw(box: Box): string
}

export interface LegendEntry {
  readonly label: string
  /** Markup of the sign, about 18 wide, its middle at (x, y). */
  readonly sign: (x: number, y: number) => string
}

export interface FigureParts {
  readonly name: string
  readonly title: string
  readonly description: string
  /** What the numbers were measured on, under the title. */
  readonly subtitle: string
  readonly legend: readonly LegendEntry[]
  readonly panels: readonly Panel[]
  /** At most so many panels in a row. */
  readonly columns: number
}

/** What a figure is laid out for; widths in CSS pixels. */
export interface Page {
  readonly width: number
  /** Of a figure with one panel in a row. */
  readonly singleWidth: number
  /** At most so many panels in a row. */
  readonly columns: number
}

export const WIDE_PAGE: Page = { width: 960, singleWidth: 640, columns: 4 }
/** A phone that is held upright: panels stand one below the other. */
export const NARROW_PAGE: Page = { width: 350, singleWidth: 350, columns: 1 }

export const EDGE = 12

/** Title and subtitle from the top edge, in as many lines as they need, and where the last one ends. */
export function drawHead(title: string, subtitle: string, width: number): { body: string; bottom: number } {
  const room = width - 2 * EDGE
  let y = 6
  let body = ''
  for (const line of wrapText(title, room, 18)) {
    y += 20
    body += textElement(EDGE, y, line, { size: 16, bold: true })
  }
  for (const line of wrapText(subtitle, room, 12)) {
    y += y === 26 ? 18 : 16
    body += textElement(EDGE, y, line, { class: 'f-dim' })
  }
  return { body, bottom: y }
}

/** Title, legend and panels, laid out from top to bottom. */
export function layOut(parts: FigureParts, page: Page = WIDE_PAGE): Figure {
  const columns = Math.max(1, Math.min(parts.columns, page.columns, parts.panels.length))
  const width = columns === 1 ? page.singleWidth : page.width
  const head = drawHead(parts.title, parts.subtitle, width)
  let { body } = head
  const legend = drawLegend(parts.legend, EDGE, head.bottom + 20, width - 2 * EDGE)
  body += legend.body
  let y = legend.bottom + 8
  const panelWidth = width / columns
  for (let start = 0; start < parts.panels.length; start += columns) {
    const row = parts.panels.slice(start, start + columns)
    row.forEach((panel, i) => {
      body += element(
        'g',
        { 'data-panel': i },
        panel.draw({ x: i * panelWidth, y, width: panelWidth, height: panel.height }),
      )
    })
    y += Math.max(...row.map((panel) => panel.height))
  }
  if (parts.panels.length === 0) {
    body += textElement(EDGE, y + 20, 'no data', { class: 'f-dim' })
    y += 32
  }
  const { name, title, description } = parts
  return { name, title, description, width, height: y + 6, body }
}

function drawLegend(entries: readonly LegendEntry[], left: number, top: number, width: number) {
  let x = left
  let y = top
  let body = ''
  for (const { label, sign } of entries) {
    const text = shorten(label, width - 30, 12)
    const taken = 24 + textWidth(text, 12) + 18
    if (x > left && x + taken > left + width) {
      x = left
      y += 20
    }
    body += sign(x + 9, y) + textElement(x + 24, y + 4, text)
    x += taken
  }
  return { body, bottom: entries.length === 0 ? top - 12 : y + 12 }
}

export function seriesLegend(series: readonly Series[]): LegendEntry[] {
  return series.map((one) => ({
    label: one.label,
    sign(x, y) {
      const line =
        one.depths.length > 1
          ? lineElement(x - 9, y, x + 9, y, { stroke: 'currentColor', 'stroke-width': 1.5, 'stroke-opacity': 0.6 })
          : ''
      return element('g', { class: one.color }, line, marker(one, x, y, 4.5))
    },
  }))
}

/** Where the data of a panel with axes goes. */
export function plotBox(box: Box): Box {
  return { x: box.x + 54, y: box.y + 26, width: box.width - 54 - 14, height: box.height - 26 - 46 }
}

export interface AxisLabels {
  readonly title: string
  readonly x: string
  readonly y: string
}

/** Title, grid, ticks and axis labels around a plot. */
export function drawAxes(plot: Box, x: Scale, y: Scale, labels: AxisLabels): string {
  const bottom = plot.y + plot.height
  const right = plot.x + plot.width
  let body = textElement(plot.x, plot.y - 9, shorten(labels.title, plot.width, 14.5), { size: 13, bold: true })
  for (const tick of y.ticks) {
    const place = y.place(tick)
    body += lineElement(plot.x, place, right, place, { class: 'f-grid' })
    body += textElement(plot.x - 6, place + 4, y.format(tick), { anchor: 'end', class: 'f-dim', size: 11 })
  }
  for (const tick of x.ticks) {
    const place = x.place(tick)
    body += lineElement(place, plot.y, place, bottom, { class: 'f-grid' })
    body += textElement(place, bottom + 15, x.format(tick), { anchor: 'middle', class: 'f-dim', size: 11 })
  }
  body += lineElement(plot.x, bottom, right, bottom, { class: 'f-axis' })
  body += textElement(plot.x + plot.width / 2, bottom + 33, labels.x, { anchor: 'middle', size: 11 })
  const middle = plot.y + plot.height / 2
  return body + textElement(plot.x - 42, middle, labels.y, { anchor: 'middle', size: 11, rotate: -90 })
}
