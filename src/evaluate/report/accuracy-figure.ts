import type { EvalCell, Interval } from '../result.js'
import { interval, timeDecimals } from './format.js'
import { drawAxes, layOut, type Panel, plotBox, seriesLegend } from './panel.js'
import { domainOf, linearScale } from './scale.js'
import { marker, type Series } from './series.js'
import { element, type Figure, lineElement, tooltip } from './svg.js'

/** What accuracy is drawn against. */
export interface CostAxis {
  readonly name: string
  readonly label: string
  value(cell: EvalCell): Interval | null
  text(value: Interval): string
}

export function depthAxis(layers: number): CostAxis {
  return {
    name: 'mean depth',
    label: `mean depth (layers, of ${layers})`,
    value: (cell) => cell.depthMean,
    text: (value) => `depth ${interval(value, 2)}`,
  }
}

export const TIME_AXIS: CostAxis = {
  name: 'time',
  label: 'time to the answer (ms)',
  value: (cell) => cell.answerMs,
  text: (value) => `${interval(value, timeDecimals(value.mean))} ms`,
}

export interface PanelCells {
  readonly title: string
  readonly cells: readonly EvalCell[]
}

export interface AccuracyFigure {
  readonly name: string
  readonly title: string
  readonly subtitle: string
  readonly axis: CostAxis
  readonly series: readonly Series[]
  readonly panels: readonly PanelCells[]
}

/** Accuracy against depth or time: a panel per task or number of shots, a mark per depth, bars for both intervals. */
export function accuracyFigure(figure: AccuracyFigure): Figure {
  const { axis, panels } = figure
  const drawable = panels
    .map(({ title, cells }) => ({ title, cells: cells.filter((cell) => isDrawn(cell, axis)) }))
    .filter((panel) => panel.cells.length > 0)
  const shown = new Set(drawable.flatMap((panel) => panel.cells.map((cell) => cell.depth)))
  const series = figure.series.filter((one) => one.depths.some((depth) => shown.has(depth)))
  return layOut({
    name: figure.name,
    title: figure.title,
    subtitle: figure.subtitle,
    description:
      `Accuracy against ${axis.name}: one mark for each depth setting, thin bars are 95% intervals, the dashed line is ` +
      'the accuracy of full depth. Higher is more accurate, further left is cheaper.' +
      (axis === TIME_AXIS ? ' Controls computed from traces have no time and are left out.' : ''),
    legend: seriesLegend(series),
    panels: drawable.map((panel) => accuracyPanel(panel, axis, series, drawable.length === 1 ? 360 : 270)),
    columns: drawable.length === 4 ? 2 : 3,
  })
}

function isDrawn(cell: EvalCell, axis: CostAxis): boolean {
  const cost = axis.value(cell)
  return cost !== null && Number.isFinite(cost.mean) && Number.isFinite(cell.accuracy.mean)
}

function accuracyPanel(panel: PanelCells, axis: CostAxis, series: readonly Series[], height: number): Panel {
  const { title, cells } = panel
  const bounds = ({ mean, low, high }: Interval) => [mean, low, high]
  return {
    height,
    draw(box) {
      const plot = plotBox(box)
      const xDomain = domainOf(
        cells.flatMap((cell) => bounds(axis.value(cell)!)),
        { minSpan: axis === TIME_AXIS ? 0.01 : 1, floor: 0 },
      )
      const yDomain = domainOf(
        cells.flatMap((cell) => bounds(cell.accuracy)),
        { minSpan: 0.04, floor: -0.02, ceiling: 1.02 },
      )
      const x = linearScale(xDomain, [plot.x, plot.x + plot.width], plot.width / 55)
      const y = linearScale(yDomain, [plot.y + plot.height, plot.y], plot.height / 36)
      let body = drawAxes(plot, x, y, { title, x: axis.label, y: 'accuracy' })
      const full = cells.find((cell) => cell.depth === 'full')
      if (full !== undefined) {
        const place = y.place(full.accuracy.mean)
        body += lineElement(plot.x, place, plot.x + plot.width, place, { class: 'f-axis', 'stroke-dasharray': '4 4' })
      }
      for (const one of series) {
        const own = one.depths.flatMap((depth) => cells.filter((cell) => cell.depth === depth))
        if (own.length === 0) continue
        const points = own.map((cell) => ({
          cell,
          cost: axis.value(cell)!,
          x: x.place(axis.value(cell)!.mean),
          y: y.place(cell.accuracy.mean),
        }))
        let marks = ''
        if (points.length > 1) {
          marks += element('polyline', {
            points: points.map((point) => `${point.x.toFixed(2)},${point.y.toFixed(2)}`).join(' '),
            fill: 'none',
            stroke: 'currentColor',
            'stroke-width': 1.5,
            'stroke-opacity': 0.6,
          })
        }
        for (const point of points) {
          marks += bar(x.place, point.cost, (place) => [place, point.y])
          marks += bar(y.place, point.cell.accuracy, (place) => [point.x, place])
        }
        for (const point of points) {
          const { accuracy, depth } = point.cell
          const text = `${depth}: accuracy ${interval(accuracy, 3)}, ${axis.text(point.cost)}`
          marks += marker(one, point.x, point.y, 4.5, tooltip(text))
        }
        body += element('g', { class: one.color }, marks)
      }
      return body
    },
  }
}

/** The thin line from the lower to the upper end of an interval. */
function bar(scale: (value: number) => number, value: Interval, at: (place: number) => [number, number]): string {
  if (!Number.isFinite(value.low) || !Number.isFinite(value.high)) return ''
  const [x1, y1] = at(scale(value.low))
  const [x2, y2] = at(scale(value.high))
  return lineElement(x1, y1, x2, y2, { stroke: 'currentColor', 'stroke-width': 1.2, 'stroke-opacity': 0.7 })
}
