import type { EvalCell, Interval } from '../result.js'
import type { CostAxis, PanelCells } from './cost-axis.js'
import { dodge } from './dodge.js'
import { interval } from './format.js'
import { placeLabels, type Segment } from './label-placement.js'
import { type Box, drawAxes, type Panel, plotBox } from './panel.js'
import { domainOf, linearScale, type Scale } from './scale.js'
import { marker, type Series, shortNames } from './series.js'
import { element, lineElement, round, shorten, textElement, textWidth, tooltip } from './svg.js'

/** Half the size of a mark, and how far apart marks stand that would cover each other. In pixels. */
const RADIUS = 4.5
const GAP = 2 * RADIUS + 1
/** Of bars along the axis at one height. */
const BAR_GAP = 2.5
const LABEL_SIZE = 10

/** A cell where it is drawn. */
interface Point {
  readonly cell: EvalCell
  readonly series: Series
  readonly x: number
  readonly y: number
  /** The thin lines of both intervals. */
  readonly bars: readonly Segment[]
}

/** Accuracy of one task or number of shots against `axis`: a named mark with two intervals for each cell. */
export function accuracyPanel(panel: PanelCells, axis: CostAxis, series: readonly Series[], height: number): Panel {
  const { title, cells } = panel
  const bounds = ({ mean, low, high }: Interval) => [mean, low, high]
  const names = shortNames(cells.map((cell) => cell.depth))
  return {
    height,
    draw(box) {
      const plot = plotBox(box)
      const xDomain = domainOf(
        cells.flatMap((cell) => bounds(axis.value(cell)!)),
        { minSpan: axis.minSpan, floor: 0, margin: 0.1 },
      )
      const yDomain = domainOf(
        cells.flatMap((cell) => bounds(cell.accuracy)),
        { minSpan: 0.04, floor: -0.02, ceiling: 1.02 },
      )
      const x = linearScale(xDomain, [plot.x, plot.x + plot.width], plot.width / 55)
      const y = linearScale(yDomain, [plot.y + plot.height, plot.y], plot.height / 36)
      const points = placePoints(cells, axis, series, x, y)
      let body = drawAxes(plot, x, y, { title, x: axis.label, y: 'accuracy' })
      const full = cells.find((cell) => cell.depth === 'full')
      const level: Segment[] = []
      if (full !== undefined) {
        const place = y.place(full.accuracy.mean)
        level.push({ x1: plot.x, y1: place, x2: plot.x + plot.width, y2: place })
        body += level.map((line) => segment(line, { class: 'f-axis', 'stroke-dasharray': '4 4' })).join('')
      }
      const joined: Segment[] = []
      for (const one of series) {
        const own = one.depths.flatMap((depth) => points.filter((point) => point.cell.depth === depth))
        if (own.length === 0) continue
        for (const [i, point] of own.slice(1).entries()) {
          joined.push({ x1: own[i]!.x, y1: own[i]!.y, x2: point.x, y2: point.y })
        }
        body += element('g', { class: one.color }, drawSeries(own, axis))
      }
      return body + drawLabels(points, names, plot, [...level, ...joined])
    },
  }
}

function placePoints(
  cells: readonly EvalCell[],
  axis: CostAxis,
  series: readonly Series[],
  x: Scale,
  y: Scale,
): readonly Point[] {
  const drawn = cells.flatMap((cell) => {
    const one = series.find(({ depths }) => depths.includes(cell.depth))
    return one === undefined ? [] : [{ cell, series: one, cost: axis.value(cell)! }]
  })
  const columns = drawn.map(({ cell, cost }) => {
    const [low, high] = ends(cell.accuracy, y)
    const place = y.place(cell.accuracy.mean)
    const reach = { low: Math.min(place - RADIUS, high), high: Math.max(place + RADIUS, low) }
    return { place: x.place(cost.mean), ...reach }
  })
  const xs = dodge(columns, GAP)
  const rows = drawn.map(({ cell, cost }, i) => {
    const [low, high] = ends(cost, x)
    const moved = xs[i]! - columns[i]!.place
    return { place: y.place(cell.accuracy.mean), low: low + moved, high: high + moved }
  })
  const barYs = dodge(rows, BAR_GAP)
  return drawn.map(({ cell, series: one, cost }, i) => {
    const place = { x: xs[i]!, y: y.place(cell.accuracy.mean) }
    const [low, high] = ends(cell.accuracy, y)
    const { low: left, high: right } = rows[i]!
    const bars: Segment[] = []
    if (hasEnds(cost)) bars.push({ x1: left, y1: barYs[i]!, x2: right, y2: barYs[i]! })
    if (hasEnds(cell.accuracy)) bars.push({ x1: place.x, y1: low, x2: place.x, y2: high })
    return { cell, series: one, ...place, bars }
  })
}

/** Where an interval begins and ends; its estimate where it has no ends. */
function ends(value: Interval, scale: Scale): [number, number] {
  return hasEnds(value)
    ? [scale.place(value.low), scale.place(value.high)]
    : [scale.place(value.mean), scale.place(value.mean)]
}

function hasEnds({ low, high }: Interval): boolean {
  return Number.isFinite(low) && Number.isFinite(high)
}

function drawSeries(points: readonly Point[], axis: CostAxis): string {
  let marks = ''
  if (points.length > 1) {
    const path = points.map((point) => `${round(point.x)},${round(point.y)}`).join(' ')
    const stroke = { stroke: 'currentColor', 'stroke-width': 1.5, 'stroke-opacity': 0.6 }
    marks += element('polyline', { points: path, fill: 'none', ...stroke })
  }
  for (const { bars } of points) {
    const stroke = { stroke: 'currentColor', 'stroke-width': 1.2, 'stroke-opacity': 0.7 }
    marks += bars.map((bar) => segment(bar, stroke)).join('')
  }
  for (const { cell, series, x, y } of points) {
    const text = `${cell.depth}: accuracy ${interval(cell.accuracy, 3)}, ${axis.text(axis.value(cell)!)}`
    marks += marker(series, x, y, RADIUS, tooltip(text))
  }
  return marks
}

/** Names of the marks, where there is room for them; the legend has them all. */
function drawLabels(
  points: readonly Point[],
  names: ReadonlyMap<string, string>,
  plot: Box,
  lines: readonly Segment[],
): string {
  const room = Math.min(190, plot.width * 0.4)
  const texts = points.map(({ cell }) => shorten(names.get(cell.depth) ?? cell.depth, room, LABEL_SIZE))
  const labels = points.map(({ x, y }, i) => {
    return { x, y, width: textWidth(texts[i]!, LABEL_SIZE), height: LABEL_SIZE * 1.2 }
  })
  const around = { bounds: plot, radius: RADIUS * 1.2, lines: [...lines, ...points.flatMap(({ bars }) => bars)] }
  return placeLabels(labels, around)
    .map((placed, i) => {
      if (placed === null) return ''
      const { box, leader } = placed
      const middle = box.x + box.width / 2
      const line = leader === null ? '' : segment(leader, { class: 'f-axis', 'stroke-width': 0.8 })
      const options = { size: LABEL_SIZE, anchor: 'middle', class: 'f-halo' } as const
      return line + textElement(middle, box.y + LABEL_SIZE * 0.95, texts[i]!, options)
    })
    .join('')
}

function segment({ x1, y1, x2, y2 }: Segment, attributes: Readonly<Record<string, string | number>>): string {
  return lineElement(x1, y1, x2, y2, attributes)
}
