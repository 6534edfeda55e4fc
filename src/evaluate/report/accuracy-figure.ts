import type { EvalCell } from '../result.js'
import { accuracyPanel } from './accuracy-panel.js'
import type { CostAxis, PanelCells } from './cost-axis.js'
import { interval, timeDecimals } from './format.js'
import { layOut, type Page, seriesLegend } from './panel.js'
import type { Series } from './series.js'
import type { Figure } from './svg.js'

export function depthAxis(layers: number): CostAxis {
  return {
    name: 'mean depth',
    minSpan: 1,
    label: `mean depth (layers, of ${layers})`,
    value: (cell) => cell.depthMean,
    text: (value) => `depth ${interval(value, 2)}`,
  }
}

export const TIME_AXIS: CostAxis = {
  name: 'time',
  minSpan: 0.01,
  label: 'time to the answer (ms)',
  value: (cell) => cell.answerMs,
  text: (value) => `${interval(value, timeDecimals(value.mean))} ms`,
}

export interface AccuracyFigure {
  readonly name: string
  readonly title: string
  readonly subtitle: string
  readonly axis: CostAxis
  readonly series: readonly Series[]
  readonly panels: readonly PanelCells[]
  readonly page: Page
}

/** Accuracy against depth or time: a panel per task or number of shots, a mark per depth, bars for both intervals. */
export function accuracyFigure(figure: AccuracyFigure): Figure {
  const { axis, panels } = figure
  const drawable = panels
    .map(({ title, cells }) => ({ title, cells: cells.filter((cell) => isDrawn(cell, axis)) }))
    .filter((panel) => panel.cells.length > 0)
  const shown = new Set(drawable.flatMap((panel) => panel.cells.map((cell) => cell.depth)))
  const series = figure.series.filter((one) => one.depths.some((depth) => shown.has(depth)))
  return layOut(
    {
      name: figure.name,
      title: figure.title,
      subtitle: figure.subtitle,
      description:
        `Accuracy against ${axis.name}: one mark for each depth setting, thin bars are 95% intervals, the dashed line is ` +
        'the accuracy of full depth. Marks that would cover each other stand side by side; where a name has no room, ' +
        'the legend has it. Higher is more accurate, further left is cheaper.' +
        (axis === TIME_AXIS ? ' Controls computed from traces have no time and are left out.' : ''),
      legend: seriesLegend(series),
      panels: drawable.map((panel) => accuracyPanel(panel, axis, series, drawable.length === 1 ? 360 : 290)),
      columns: drawable.length === 4 ? 2 : 3,
    },
    figure.page,
  )
}

function isDrawn(cell: EvalCell, axis: CostAxis): boolean {
  const cost = axis.value(cell)
  return cost !== null && Number.isFinite(cost.mean) && Number.isFinite(cell.accuracy.mean)
}
