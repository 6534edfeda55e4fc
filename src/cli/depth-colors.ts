import { WriteStream } from 'node:tty'
import type { Cli } from './cli.js'

/** How a token's depth is made visible. */
export interface DepthPaint {
  /** `text` in the colour of `depth`, or with the depth as small digits behind it where there are no colours. */
  token(text: string, depth: number): string
  /** One line that explains it. */
  legend(): string
}

type Rgb = readonly [number, number, number]

/** Shallow to deep: cold to warm, each readable on black and on white. */
const RAMP: readonly Rgb[] = [
  [42, 123, 222],
  [0, 158, 168],
  [64, 160, 43],
  [200, 140, 0],
  [214, 69, 65],
]
const BASIC = [34, 36, 32, 33, 31]
const RESET = '\u001b[39m'

/** @param layers L; depths go from 1 to L */
export function createDepthPaint(cli: Cli, layers: number): DepthPaint {
  const bits = colorBits(cli)
  const share = (depth: number): number => (layers <= 1 ? 1 : (depth - 1) / (layers - 1))
  if (bits === 1) {
    return {
      // Line breaks stay behind the digits: at the head of a line they would seem to belong to the next token.
      token: (text, depth) => (text === '' ? '' : text.replace(/\n*$/, (breaks) => `${superscript(depth)}${breaks}`)),
      legend: () => `small digits: layers that the token before them had run, of ${layers}`,
    }
  }
  const paint = (text: string, depth: number): string => {
    if (text === '') return ''
    return `${escapeFor(share(depth), bits)}${text}${RESET}`
  }
  return {
    token: paint,
    legend: () => {
      const steps = Math.min(RAMP.length, layers)
      const marks = Array.from({ length: steps }, (_, i) => {
        const depth = steps === 1 ? layers : Math.round(1 + (i * (layers - 1)) / (steps - 1))
        return paint(`█ ${depth}`, depth)
      })
      return `layers run: ${marks.join('  ')}`
    },
  }
}

/** 1 (none), 4, 8 or 24, as Node decides it from the stream, NO_COLOR and FORCE_COLOR. */
function colorBits(cli: Cli): number {
  const { env } = cli
  const force = env.FORCE_COLOR
  if (force === undefined && cli.stdout.isTTY !== true) return 1
  return WriteStream.prototype.getColorDepth({ ...env })
}

function escapeFor(share: number, bits: number): string {
  if (bits === 4) return `\u001b[${BASIC[Math.round(share * (BASIC.length - 1))]}m`
  const at = share * (RAMP.length - 1)
  const low = RAMP[Math.floor(at)]!
  const high = RAMP[Math.min(RAMP.length - 1, Math.floor(at) + 1)]!
  const [r, g, b] = low.map((from, i) => Math.round(from + (high[i]! - from) * (at - Math.floor(at)))) as [
    number,
    number,
    number,
  ]
  if (bits >= 24) return `\u001b[38;2;${r};${g};${b}m`
  const level = (value: number): number => Math.round((value / 255) * 5)
  return `\u001b[38;5;${16 + 36 * level(r) + 6 * level(g) + level(b)}m`
}

function superscript(depth: number): string {
  return String(depth).replace(/\d/g, (digit) => '⁰¹²³⁴⁵⁶⁷⁸⁹'[Number(digit)]!)
}
