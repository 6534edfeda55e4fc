import type { EvalReport } from '../result.js'

/** A report as JSON documents of the command line have it: keys in snake_case; what is not a number becomes null. */
export function reportJson(report: EvalReport): object {
  return snakeKeys(report) as object
}

/** Keys are those of the result types only: names from outside are values, never keys. */
export function snakeKeys(value: unknown): unknown {
  if (typeof value === 'number') return Number.isFinite(value) ? value : null
  if (Array.isArray(value)) return value.map(snakeKeys)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [snakeCase(key), snakeKeys(item)]))
}

function snakeCase(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}
