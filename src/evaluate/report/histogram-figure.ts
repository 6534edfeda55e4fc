import type { EvalCell } from '../result.js'
import type { PanelCells } from './cost-axis.js'
import { fixed } from './format.js'
import { type Box, layOut, type Page, type Panel } from './panel.js'
import { linearScale } from './scale.js'
import { type Series, shortNames } from './series.js'
import { element, type Figure, lineElement, shorten, textElement, textWidth, tooltip } from './svg.js'

export interface HistogramFigure {
  readonly name: string
  readonly title: string
  readonly subtitle: string
  readonly layers: number
  readonly series: readonly Series[]
  readonly panels: readonly PanelCells[]
  readonly page: Page
}

const ROW = 26
const HEAD = 26
const FOOT = 44
const MEAN_WIDTH = 44

/** How many prompts were answered at which depth: a panel per task, a row of bars per depth setting. */
export function histogramFigure(figure: HistogramFigure): Figure {
  const panels = figure.panels
    .map(({ title, cells }) => ({ title, cells: cells.filter((cell) => total(cell) > 0) }))
    .filter((panel) => panel.cells.length > 0)
  const labels = shortNames(panels.flatMap((panel) => panel.cells.map((cell) => cell.depth)))
  return layOut(
    {
      name: figure.name,
      title: figure.title,
      subtitle: figure.subtitle,
      description:
        'Share of prompts answered at each depth, a row of bars for each depth setting, the mean depth to the right. ' +
        'Rows that use one depth only are cut at the height of the row; the axis says which share that height stands for.',
      legend: [],
      panels: panels.map((panel) => histogramPanel(panel, figure, labels)),
      columns: 2,
    },
    figure.page,
  )
}

function total(cell: EvalCell): number {
  return cell.histogram.reduce((sum, count) => sum + (Number.isFinite(count) ? count : 0), 0)
}

function histogramPanel(panel: PanelCells, figure: HistogramFigure, labels: ReadonlyMap<string, string>): Panel {
  const { title, cells } = panel
  const { layers, series } = figure
  const shares = cells.map((cell) => Array.from({ length: layers }, (_, i) => (cell.histogram[i] || 0) / total(cell)))
  const spread = shares.filter((row) => row.filter((share) => share > 0).length > 1)
  const most = spread.length === 0 ? 1 : Math.max(...spread.flat())
  return {
    height: HEAD + cells.length * ROW + FOOT,
    draw(box) {
      const longest = Math.max(...cells.map((cell) => textWidth(labels.get(cell.depth) ?? cell.depth, 11)))
      const labelWidth = Math.min(longest + 10, box.width * 0.42)
      const plot: Box = {
        x: box.x + 12 + labelWidth,
        y: box.y + HEAD,
        width: box.width - 12 - labelWidth - MEAN_WIDTH - 12,
        height: cells.length * ROW,
      }
      const slot = plot.width / layers
      const x = linearScale([0.5, layers + 0.5], [plot.x, plot.x + plot.width], plot.width / 40)
      const bottom = plot.y + plot.height
      const right = plot.x + plot.width
      let body = textElement(box.x + 12, box.y + 16, shorten(title, box.width - MEAN_WIDTH - 60, 13), {
        size: 13,
        bold: true,
      })
      body += textElement(right + MEAN_WIDTH, box.y + 16, 'mean', { anchor: 'end', class: 'f-dim', size: 11 })
      cells.forEach((cell, r) => {
        const base = plot.y + (r + 1) * ROW
        const label = labels.get(cell.depth) ?? cell.depth
        const name = shorten(label, labelWidth - 8, 11)
        body += textElement(plot.x - 8, base - 6, name, { anchor: 'end', size: 11 })
        body += lineElement(plot.x, base, right, base, { class: 'f-grid' })
        let bars = ''
        shares[r]!.forEach((share, i) => {
          if (share <= 0) return
          const height = Math.max(1, Math.min(1, share / most) * (ROW - 5))
          bars += element(
            'rect',
            { x: plot.x + i * slot + slot * 0.08, y: base - height, width: slot * 0.84, height, fill: 'currentColor' },
            tooltip(`${cell.depth}: ${fixed(share * 100, 1)}% at depth ${i + 1} (${cell.histogram[i]} prompts)`),
          )
        })
        body += element('g', { class: series.find((one) => one.depths.includes(cell.depth))?.color ?? 'f-c0' }, bars)
        const mean = fixed(cell.depthMean.mean, 1)
        body += textElement(right + MEAN_WIDTH, base - 6, mean, { anchor: 'end', class: 'f-dim', size: 11 })
      })
      for (const tick of x.ticks.filter((value) => Number.isInteger(value) && value >= 1)) {
        body += textElement(x.place(tick), bottom + 15, String(tick), { anchor: 'middle', class: 'f-dim', size: 11 })
      }
      const axis = `depth (layers) · full row = ${fixed(most * 100, 0)}% of prompts`
      return body + textElement(plot.x + plot.width / 2, bottom + 31, axis, { anchor: 'middle', size: 11 })
    },
  }
}
