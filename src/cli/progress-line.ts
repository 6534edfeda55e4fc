import type { Cli } from './cli.js'

/** One line on stderr that is written over and over, and wiped at the end. Silent where stderr is no terminal. */
export interface ProgressLine {
  show(text: string): void
  clear(): void
}

const INTERVAL_MS = 80

export function createProgressLine(cli: Cli): ProgressLine {
  const { stderr } = cli
  if (stderr.isTTY !== true) return { show: () => undefined, clear: () => undefined }
  let shown = false
  let last = 0
  return {
    show(text) {
      const now = performance.now()
      if (shown && now - last < INTERVAL_MS) return
      last = now
      shown = true
      stderr.write(`\r\u001b[2K${text.slice(0, (stderr.columns || 80) - 1)}`)
    },
    clear() {
      if (shown) stderr.write('\r\u001b[2K')
      shown = false
    },
  }
}

/** `██████░░░░` of a share from 0 to 1. */
export function bar(share: number, width = 24): string {
  const full = Math.round(Math.min(1, Math.max(0, share)) * width)
  return '█'.repeat(full) + '░'.repeat(width - full)
}

export function bytesText(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let value = bytes
  let unit = 0
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${unit === 0 || value >= 99.95 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`
}
