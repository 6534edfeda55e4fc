import { escapeXml } from './escape.js'

/** A picture of the report, without its style sheet. */
export interface Figure {
  /** File name without its ending; letters, digits and `-`. */
  readonly name: string
  readonly title: string
  /** What the figure shows and how to read it, for the caption and for readers who cannot see it. */
  readonly description: string
  /** In CSS pixels. */
  readonly width: number
  readonly height: number
  /** SVG elements. */
  readonly body: string
}

/** `auto` follows the reader's system; `none` leaves the style to the page around the figure. */
export type Theme = 'auto' | 'light' | 'dark' | 'none'

export const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, Arial, 'DejaVu Sans', sans-serif"

interface Palette {
  readonly text: string
  readonly dim: string
  readonly grid: string
  readonly axis: string
  readonly back: string
  /** The first is for the reference (full depth). */
  readonly series: readonly string[]
}

// After Okabe and Ito's colour-blind safe set, darkened or lightened to 3:1 against the page; shapes tell series apart too.
const LIGHT: Palette = {
  text: '#1b1f24',
  dim: '#57606a',
  grid: '#e6e9ed',
  axis: '#8b949e',
  back: '#ffffff',
  series: ['#3d444d', '#0072b2', '#d55e00', '#008a63', '#b4558f', '#a87400', '#2f8fc4', '#7d2248'],
}
const DARK: Palette = {
  text: '#e6e9ed',
  dim: '#a3abb5',
  grid: '#2c3239',
  axis: '#6e7681',
  back: '#14171b',
  series: ['#c3cad2', '#56b4e9', '#ff8a47', '#2fc598', '#e79ac6', '#e6b422', '#9fc9ff', '#e07a9a'],
}

/** How many colours there are beside the reference's. */
export const SERIES_COLORS = LIGHT.series.length - 1

/** Style sheet of all figures. Colours are classes: renderers of PNG know no CSS variables. */
export function figureStyle(theme: Exclude<Theme, 'none'>): string {
  if (theme !== 'auto') return paletteRules(theme === 'dark' ? DARK : LIGHT)
  return `${paletteRules(LIGHT)}@media (prefers-color-scheme: dark){${paletteRules(DARK)}}`
}

function paletteRules(palette: Palette): string {
  const { text, dim, grid, axis, back, series } = palette
  const rules = [
    `.f-text{fill:${text}}`,
    `.f-dim{fill:${dim}}`,
    `.f-grid{stroke:${grid}}`,
    `.f-axis{stroke:${axis}}`,
    `.f-back{fill:${back}}`,
    `.f-ring{stroke:${text}}`,
    `.f-halo{fill:${dim};stroke:${back};stroke-width:3px;stroke-linejoin:round;paint-order:stroke}`,
  ]
  return rules.join('') + series.map((color, i) => `.f-c${i}{color:${color}}`).join('')
}

/** A figure as an SVG document. Throws nothing; `body` must be well-formed. */
export function figureSvg(figure: Figure, theme: Theme): string {
  const { name, width, height } = figure
  return element(
    'svg',
    {
      xmlns: 'http://www.w3.org/2000/svg',
      class: 'figure',
      viewBox: `0 0 ${round(width)} ${round(height)}`,
      width,
      height,
      role: 'img',
      'aria-labelledby': `${name}-title ${name}-description`,
      'font-family': FONT,
      'font-size': 12,
    },
    element('title', { id: `${name}-title` }, escapeXml(figure.title)),
    element('desc', { id: `${name}-description` }, escapeXml(figure.description)),
    theme === 'none' ? '' : element('style', {}, figureStyle(theme)),
    element('rect', { class: 'f-back', width, height }),
    figure.body,
  )
}

export type Attributes = Readonly<Record<string, string | number | undefined>>

/** An element; attributes are escaped, children are markup already. */
export function element(name: string, attributes: Attributes, ...children: readonly string[]): string {
  let tag = `<${name}`
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined) tag += ` ${key}="${typeof value === 'number' ? round(value) : escapeXml(value)}"`
  }
  const content = children.join('')
  return content === '' ? `${tag}/>` : `${tag}>${content}</${name}>`
}

export interface TextOptions {
  readonly anchor?: 'start' | 'middle' | 'end'
  readonly class?: string
  readonly size?: number
  readonly bold?: boolean
  /** Degrees, about the text's own place. */
  readonly rotate?: number
}

/** A line of text with its baseline at y. */
export function textElement(x: number, y: number, text: string, options: TextOptions = {}): string {
  return element(
    'text',
    {
      x,
      y,
      class: options.class ?? 'f-text',
      'text-anchor': options.anchor,
      'font-size': options.size,
      'font-weight': options.bold ? 600 : undefined,
      transform: options.rotate === undefined ? undefined : `rotate(${options.rotate} ${round(x)} ${round(y)})`,
    },
    escapeXml(text),
  )
}

export function lineElement(x1: number, y1: number, x2: number, y2: number, attributes: Attributes): string {
  return element('line', { x1, y1, x2, y2, ...attributes })
}

/** Text for a pointer that rests on the element around it. */
export function tooltip(text: string): string {
  return element('title', {}, escapeXml(text))
}

/** Two decimals are finer than a screen. */
export function round(value: number): string {
  return String(Math.round(value * 100) / 100)
}

/** Widths in em of DejaVu Sans, the widest of the fonts in `FONT`: other fonts leave room. */
const EMS: readonly (readonly [RegExp, number])[] = [
  [/[\u1100-\u{10ffff}]/u, 1],
  [/[mMW@%…]/, 0.98],
  [/[A-Zw]/, 0.76],
  [/[ijltfr.,:;|'()[\] -]/, 0.4],
]

/** Width of a text in pixels, estimated. */
export function textWidth(text: string, size: number): number {
  let ems = 0
  for (const character of text) ems += EMS.find(([kind]) => kind.test(character))?.[1] ?? 0.635
  return ems * size
}

/** Lines of at most `width` pixels, broken between words; a word that is wider is shortened. */
export function wrapText(text: string, width: number, size: number): string[] {
  const lines: string[] = []
  for (const word of text.split(' ')) {
    const line = lines.length === 0 ? word : `${lines[lines.length - 1]} ${word}`
    if (lines.length > 0 && textWidth(line, size) <= width) lines[lines.length - 1] = line
    else lines.push(shorten(word, width, size))
  }
  return lines
}

/** Cuts the middle out of a text that is wider than `width`: the ends of names tell them apart. */
export function shorten(text: string, width: number, size: number): string {
  if (textWidth(text, size) <= width) return text
  const characters = Array.from(text)
  for (let kept = characters.length - 1; kept > 1; kept--) {
    const head = Math.ceil(kept / 2)
    const short = `${characters.slice(0, head).join('')}…${characters.slice(characters.length - (kept - head)).join('')}`
    if (textWidth(short, size) <= width) return short
  }
  return '…'
}
