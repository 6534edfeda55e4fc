import type { EvalReport, FeatureCurve } from '../result.js'
import { fixed, grouped } from './format.js'
import { drawAxes, type LegendEntry, layOut, type Page, type Panel, plotBox } from './panel.js'
import { linearScale } from './scale.js'
import { element, type Figure, lineElement, round, tooltip } from './svg.js'

const STYLES = {
  easy: { color: 'f-c1', dash: undefined, label: 'easy: the answer is settled early' },
  hard: { color: 'f-c2', dash: '6 4', label: 'hard: the others' },
} as const
const FEATURES = [
  { label: 'gap', of: (curve: FeatureCurve) => curve.gap },
  { label: 'top probability', of: (curve: FeatureCurve) => curve.topProb },
] as const

/** Mean gap and top probability by layer, for easy and hard instances: two panels for each task. */
export function curveFigure(report: EvalReport, subtitle: string, page: Page): Figure {
  const tasks = [...new Set(report.curves.map((curve) => curve.task))]
  return layOut(
    {
      name: 'exit-features',
      title: 'Exit features by layer',
      subtitle,
      description:
        'Mean gap (probability of the first token less that of the second) and mean top probability at each layer, ' +
        'for instances whose answer is settled early (solid) and for the others (dashed).',
      legend: (['easy', 'hard'] as const).map(legendEntry),
      panels: tasks.flatMap((task) => {
        const curves = report.curves.filter((curve) => curve.task === task)
        return FEATURES.map((feature) => curvePanel(task, curves, feature, report.layers))
      }),
      columns: tasks.length === 1 ? 2 : 4,
    },
    page,
  )
}

function legendEntry(difficulty: keyof typeof STYLES): LegendEntry {
  const { label, color } = STYLES[difficulty]
  return {
    label,
    sign: (x, y) => element('g', { class: color }, lineElement(x - 9, y, x + 9, y, strokeOf(difficulty))),
  }
}

function strokeOf(difficulty: keyof typeof STYLES) {
  return { fill: 'none', stroke: 'currentColor', 'stroke-width': 2, 'stroke-dasharray': STYLES[difficulty].dash }
}

function curvePanel(
  task: string,
  curves: readonly FeatureCurve[],
  feature: (typeof FEATURES)[number],
  layers: number,
): Panel {
  return {
    height: 220,
    draw(box) {
      const plot = plotBox(box)
      const last = Math.max(1, layers - 1)
      const x = linearScale([0, last], [plot.x, plot.x + plot.width], Math.min(last, plot.width / 40))
      const y = linearScale([0, 1], [plot.y + plot.height, plot.y], 5)
      let body = drawAxes(plot, x, y, { title: task, x: 'layer (from 0)', y: feature.label })
      for (const curve of curves) {
        const values = feature.of(curve)
        const { color } = STYLES[curve.difficulty]
        const note = tooltip(`${task}, ${curve.difficulty}, ${grouped(curve.instances)} instances`)
        let marks = ''
        for (const run of finiteRuns(values)) {
          const points = run.map((layer) => `${round(x.place(layer))},${round(y.place(values[layer]!))}`).join(' ')
          marks += element('polyline', { points, ...strokeOf(curve.difficulty) }, note)
        }
        values.forEach((value, layer) => {
          if (!Number.isFinite(value)) return
          const text = tooltip(`${curve.difficulty}, layer ${layer}: ${feature.label} ${fixed(value, 3)}`)
          marks += element('circle', { cx: x.place(layer), cy: y.place(value), r: 2.2, fill: 'currentColor' }, text)
        })
        body += element('g', { class: color }, marks)
      }
      return body
    },
  }
}

/** Stretches of layers with values; a missing one leaves a hole in the line. */
function finiteRuns(values: readonly number[]): number[][] {
  const runs: number[][] = []
  values.forEach((value, layer) => {
    if (!Number.isFinite(value)) return
    const run = runs[runs.length - 1]
    if (run !== undefined && run[run.length - 1] === layer - 1) run.push(layer)
    else runs.push([layer])
  })
  return runs
}
