import type { EvalReport } from '../result.js'
import { escapeMarkdown } from './escape.js'
import { reportFacts, reportNotes, reportTitle } from './facts.js'
import { NONE } from './format.js'
import type { Table } from './table.js'
import { reportTables } from './tables.js'

/** The report's tables in GitHub's Markdown. */
export function reportMarkdown(report: EvalReport): string {
  const facts = reportFacts(report).map(([name, value]) => `- ${name}: ${escapeMarkdown(value)}`)
  const notes = reportNotes(report).map((note) => `- ${escapeMarkdown(note)}`)
  const parts = [
    `# ${escapeMarkdown(reportTitle(report))}`,
    facts.join('\n'),
    ...(notes.length > 0 ? [notes.join('\n')] : []),
    ...reportTables(report).map(tableMarkdown),
  ]
  return `${parts.join('\n\n')}\n`
}

function tableMarkdown(table: Table): string {
  const line = (cells: readonly string[]) => `| ${cells.map(escapeMarkdown).join(' | ')} |`
  const rule = `|${table.columns.map((column) => (column.numeric ? '---:' : '---')).join('|')}|`
  const rows = table.rows.length > 0 ? table.rows : [table.columns.map(() => NONE)]
  const lines = [line(table.columns.map((column) => column.name)), rule, ...rows.map(line)]
  return [`## ${escapeMarkdown(table.title)}`, lines.join('\n'), ...table.notes.map(escapeMarkdown)].join('\n\n')
}
