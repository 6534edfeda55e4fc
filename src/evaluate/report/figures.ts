import type { EvalCell, EvalReport } from '../result.js'
import { accuracyFigure, depthAxis, TIME_AXIS } from './accuracy-figure.js'
import type { CostAxis, PanelCells } from './cost-axis.js'
import { curveFigure } from './curve-figure.js'
import { heatMap, MATRIX_MEASURES } from './heat-map.js'
import { histogramFigure } from './histogram-figure.js'
import { type Page, WIDE_PAGE } from './panel.js'
import { depthSeries, shortNames } from './series.js'
import type { Figure } from './svg.js'

/** Every figure that a report has data for, in reading order. */
export function reportFigures(report: EvalReport, page: Page = WIDE_PAGE): Figure[] {
  const subtitle = `${report.model} ${report.quantization}, ${report.layers} layers, scored by ${report.score}`
  const series = depthSeries([...report.overall, ...report.cells])
  const pooled = panelsBy(report.overall, (cell) => shotsText(cell.shots))
  const tasks = new Set(report.cells.map((cell) => cell.task)).size
  const figures: Figure[] = []

  for (const axis of [depthAxis(report.layers), TIME_AXIS]) {
    if (axis === TIME_AXIS && !hasValues(report, axis)) continue
    const base = axis === TIME_AXIS ? 'accuracy-time' : 'accuracy-depth'
    const common = { subtitle, axis, series, page }
    if (report.overall.length > 0) {
      const title = `Accuracy against ${axis.name}, all tasks`
      figures.push(accuracyFigure({ ...common, name: base, title, panels: pooled }))
    }
    if (tasks < 2 && report.overall.length > 0) continue
    for (const [shots, cells] of byShots(report.cells)) {
      const title = `Accuracy against ${axis.name} by task, ${shotsText(shots)}`
      const panels = panelsBy(cells, (cell) => cell.task)
      figures.push(accuracyFigure({ ...common, name: `${base}-${shots}-shot`, title, panels }))
    }
  }
  for (const [shots, cells] of byShots(report.cells)) {
    const name = `depth-histogram-${shots}-shot`
    const title = `Depth of the answers by task, ${shotsText(shots)}`
    const panels = panelsBy(cells, (cell) => cell.task)
    figures.push(histogramFigure({ name, title, subtitle, layers: report.layers, series, panels, page }))
  }
  if (report.curves.length > 0) figures.push(curveFigure(report, subtitle, page))
  const { matrix } = report
  if (matrix !== null && matrix.train.length > 0 && matrix.test.length > 0) {
    const policy = shortNames([matrix.policy]).get(matrix.policy) ?? matrix.policy
    const models = [...new Set(matrix.test.map(({ model }) => model))]
    const of = models.length > 1 ? models.join(' and ') : subtitle
    for (const measure of MATRIX_MEASURES) figures.push(heatMap(matrix, measure, `${policy} · ${of}`, page))
  }
  return figures
}

function hasValues(report: EvalReport, axis: CostAxis): boolean {
  return [...report.overall, ...report.cells].some((cell) => Number.isFinite(axis.value(cell)?.mean))
}

function shotsText(shots: number): string {
  return shots === 0 ? 'zero-shot' : `${shots}-shot`
}

function byShots(cells: readonly EvalCell[]): [number, EvalCell[]][] {
  const shots = [...new Set(cells.map((cell) => cell.shots))].sort((a, b) => a - b)
  return shots.map((count) => [count, cells.filter((cell) => cell.shots === count)])
}

function panelsBy(cells: readonly EvalCell[], key: (cell: EvalCell) => string): PanelCells[] {
  const titles = [...new Set(cells.map(key))]
  return titles.map((title) => ({ title, cells: cells.filter((cell) => key(cell) === title) }))
}
