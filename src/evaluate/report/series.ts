import type { EvalCell } from '../result.js'
import { element, round, SERIES_COLORS } from './svg.js'

/** What is drawn in one colour and shape: a depth, or one policy at several thresholds, joined by a line. */
export interface Series {
  readonly label: string
  /** Canonical SPECs, by rising value. */
  readonly depths: readonly string[]
  /** Class of the style sheet that sets `color`. */
  readonly color: string
  readonly shape: number
}

/** Kinds whose number is a setting of degree, so that values form a curve. */
const CURVES = new Set([
  'gap',
  'exit',
  'entropy',
  'patience',
  'calm',
  'unified',
  'skipdecode',
  'shortgpt',
  'sleb',
  'bottom',
])

/** Groups the depths of a report; the same depth has the same colour and shape in every figure. */
export function depthSeries(cells: readonly EvalCell[]): readonly Series[] {
  const groups = new Map<string, Map<string, number>>()
  for (const { depth } of cells) {
    const { key, value } = curveOf(depth)
    const group = groups.get(key) ?? new Map<string, number>()
    group.set(depth, value)
    groups.set(key, group)
  }
  const names = shortNames(cells.map((cell) => cell.depth))
  let next = 0
  return [...groups.values()].map((group) => {
    const depths = [...group].sort((a, b) => a[1] - b[1]).map(([depth]) => depth)
    const index = depths[0] === 'full' ? 0 : ++next
    return {
      label: labelOf(depths, names),
      depths,
      color: `f-c${index === 0 ? 0 : 1 + ((index - 1) % SERIES_COLORS)}`,
      shape: index % SHAPES.length,
    }
  })
}

function curveOf(depth: string): { key: string; value: number } {
  const match = /^([a-z]+):(\d+(?:\.\d+)?)(x?)((?:,[a-z]+=.*)?)$/.exec(depth)
  if (match === null || !CURVES.has(match[1]!)) return { key: depth, value: 0 }
  return { key: `${match[1]}:*${match[4]}`, value: Number(match[2]) }
}

function labelOf(depths: readonly string[], names: ReadonlyMap<string, string>): string {
  const [first, last] = [depths[0]!, depths[depths.length - 1]!]
  if (depths.length === 1) return names.get(first) ?? first
  const value = (depth: string) => /:([\d.]+x?)/.exec(depth)?.[1] ?? ''
  return first.replace(/:[\d.]+x?/, `:${value(first)} … ${value(last)}`)
}

/** Policy files without their folder and ending, wherever that stays unambiguous. */
export function shortNames(depths: readonly string[]): ReadonlyMap<string, string> {
  const short = new Map([...new Set(depths)].map((depth) => [depth, fileName(depth)]))
  const uses = new Map<string, number>()
  for (const name of short.values()) uses.set(name, (uses.get(name) ?? 0) + 1)
  return new Map([...short].map(([depth, name]) => [depth, uses.get(name) === 1 ? name : depth]))
}

function fileName(depth: string): string {
  return depth.replace(/:[^,]*[/\\](?=[^/\\,]+)/, ':').replace(/(?<=:[^,]+?)(?:\.policy)?\.json(?=,|$)/, '')
}

/** Closed outlines in a box of -1 to 1; a shape of its own for each series beside its colour. */
const SHAPES: readonly (readonly (readonly [number, number])[])[] = [
  star(4, 0.45),
  Array.from({ length: 16 }, (_, i) => [Math.cos((i * Math.PI) / 8), Math.sin((i * Math.PI) / 8)] as const),
  [
    [-0.85, -0.85],
    [0.85, -0.85],
    [0.85, 0.85],
    [-0.85, 0.85],
  ],
  [
    [0, -1.1],
    [1.05, 0.8],
    [-1.05, 0.8],
  ],
  [
    [0, -1.25],
    [1.05, 0],
    [0, 1.25],
    [-1.05, 0],
  ],
  [
    [0, 1.1],
    [1.05, -0.8],
    [-1.05, -0.8],
  ],
  star(5, 0.5),
  [
    [-0.4, -1.1],
    [0.4, -1.1],
    [0.4, -0.4],
    [1.1, -0.4],
    [1.1, 0.4],
    [0.4, 0.4],
    [0.4, 1.1],
    [-0.4, 1.1],
    [-0.4, 0.4],
    [-1.1, 0.4],
    [-1.1, -0.4],
    [-0.4, -0.4],
  ],
  [
    [-1.1, -0.8],
    [0, -0.3],
    [1.1, -0.8],
    [1.1, 0.8],
    [0, 0.3],
    [-1.1, 0.8],
  ],
]

function star(points: number, inner: number): (readonly [number, number])[] {
  return Array.from({ length: points * 2 }, (_, i) => {
    const radius = i % 2 === 0 ? 1.3 : 1.3 * inner
    const angle = (i * Math.PI) / points - Math.PI / 2
    return [radius * Math.cos(angle), radius * Math.sin(angle)] as const
  })
}

/** The series' mark; its colour comes from the `color` around it. `title` is markup. */
export function marker(series: Pick<Series, 'shape'>, x: number, y: number, radius: number, title = ''): string {
  const outline = (SHAPES[series.shape] ?? SHAPES[1]!)
    .map(([dx, dy]) => `${round(x + dx * radius)},${round(y + dy * radius)}`)
    .join(' ')
  return element('polygon', { points: outline, fill: 'currentColor' }, title)
}
