import type { EvalReport } from '../result.js'
import { fixed, grouped } from './format.js'

export function reportTitle(report: EvalReport): string {
  return `Depth evaluation of ${report.model}`
}

/** Stands in every report: what was measured on answers is easily taken for more. */
export const GENERATION_NOTE =
  'These figures are about answers of one step. They say nothing about free generation, where every token that left ' +
  'early is read by the tokens after it and quality can fall quickly: calibrate and bound a policy on generated ' +
  'tokens before using it there.'

/** What a reader of the figures must know. */
export function reportNotes(report: EvalReport): string[] {
  return [...(report.generation === null ? [GENERATION_NOTE] : []), ...report.notes]
}

/** What was run on what: names and values. */
export function reportFacts(report: EvalReport): (readonly [string, string])[] {
  return [
    ['model', `${report.model} (${report.quantization})`],
    ['layers', String(report.layers)],
    ['parameters', parameterText(report.parameters)],
    ['score', report.score],
    ['seed', String(report.seed)],
    ['date', dateText(report.date)],
    ['machine', report.machine],
  ]
}

/** An ISO 8601 date as people write it, to the minute: `2 January 2026, 03:04 UTC`. What is no date stays as it is. */
function dateText(iso: string): string {
  const date = new Date(iso)
  if (Number.isNaN(date.getTime())) return iso
  const month = date.toLocaleString('en-US', { month: 'long', timeZone: 'UTC' })
  const time = date.toISOString().slice(11, 16)
  return `${date.getUTCDate()} ${month} ${date.getUTCFullYear()}, ${time} UTC`
}

function parameterText(count: number): string {
  if (count >= 1e9) return `${fixed(count / 1e9, 2)} billion`
  return count >= 1e6 ? `${fixed(count / 1e6, 1)} million` : grouped(count)
}
