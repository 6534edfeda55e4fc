// Quality against delivered speedup: added loss and accuracy side by side, a mark for each depth.
import { interval } from '../dist/evaluate/report/format.js'
import { drawAxes, layOut, plotBox, seriesLegend } from '../dist/evaluate/report/panel.js'
import { domainOf, linearScale } from '../dist/evaluate/report/scale.js'
import { marker } from '../dist/evaluate/report/series.js'
import { element, lineElement, SERIES_COLORS, tooltip } from '../dist/evaluate/report/svg.js'

/** Points that lose more stand at the edge. */
const MOST_LOSS = 3

/**
 * @param points {group, name, delivered, loss, accuracy}, the last three with {mean, low, high}
 * @param full what stands as a dashed line
 * @param about {name, title, subtitle, answers: what the accuracy is of}
 */
export function qualityFigure(points, full, { name, title, subtitle, answers }) {
  const groups = [...new Set(points.map(({ group }) => group))]
  const series = groups.map((label, i) => ({
    label,
    depths: points.filter(({ group }) => group === label).map((point) => point.name),
    color: `f-c${i === 0 ? 0 : 1 + ((i - 1) % SERIES_COLORS)}`,
    // Nine shapes and seven colours: no two of 63 groups share both.
    shape: i % 9,
  }))
  const panel = (heading, label, value, domain) => ({
    height: 380,
    draw(box) {
      const plot = plotBox(box)
      const delivered = domainOf(
        points.map((point) => point.delivered.mean),
        { floor: 0, minSpan: 1 },
      )
      const x = linearScale(delivered, [plot.x, plot.x + plot.width], plot.width / 55)
      const y = linearScale(domain, [plot.y + plot.height, plot.y], plot.height / 36)
      let body = drawAxes(plot, x, y, { title: heading, x: 'delivered speedup of decoding', y: label })
      const level = y.place(value(full).mean)
      body += lineElement(plot.x, level, plot.x + plot.width, level, { class: 'f-axis', 'stroke-dasharray': '4 4' })
      for (const one of series) {
        const own = points.filter((point) => point.group === one.label)
        const marks = own.map((point) => {
          const text = `${point.name}: ${label} ${interval(value(point), 3)}, delivered ${interval(point.delivered, 2)}`
          const height = y.place(Math.min(domain[1], value(point).mean))
          return marker(one, x.place(point.delivered.mean), height, 4.5, tooltip(text))
        })
        body += element('g', { class: one.color }, ...marks)
      }
      return body
    },
  })
  const losses = points.map(({ loss }) => Math.min(MOST_LOSS, loss.mean))
  const shares = points.map(({ accuracy }) => accuracy.mean)
  return layOut({
    name,
    title,
    subtitle,
    description:
      `Left: added loss in nats per token, lower is better; more than ${MOST_LOSS} stands at the edge. Right: share of right answers` +
      ' to tasks, higher is better. Further right is faster.',
    legend: seriesLegend(series.map((one) => ({ ...one, depths: one.depths.slice(0, 1) }))),
    panels: [
      panel('Text', 'added loss (nats per token)', ({ loss }) => loss, domainOf(losses, { minSpan: 0.1 })),
      panel(
        answers,
        'accuracy',
        ({ accuracy }) => accuracy,
        domainOf(shares, { minSpan: 0.1, floor: -0.02, ceiling: 1.02 }),
      ),
    ],
    columns: 2,
  })
}
