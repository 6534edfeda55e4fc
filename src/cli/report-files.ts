import { existsSync } from 'node:fs'
import { reportPaths, writeFigures, writeReport } from '../evaluate/report/write.js'
import type { EvalReport } from '../evaluate/result.js'
import { type Cli, NOTHING_KEPT, note } from './cli.js'

/** Where a report goes besides stdout. */
export interface ReportOptions {
  readonly report?: string
  readonly figures?: string
}

export async function writeReportFiles(cli: Cli, report: EvalReport, options: ReportOptions): Promise<void> {
  if (options.report !== undefined) await writeReport(report, options.report)
  if (options.figures === undefined) return
  const { warning } = await writeFigures(report, options.figures)
  if (warning !== null) note(cli, warning)
}

/** What a stopped evaluation leaves behind, for `tellWhenStopped`. */
export function keptBeside({ report }: ReportOptions, keeps: string): string {
  if (report === undefined) return 'nothing is kept: with --report FILE.html the same command goes on where it was'
  const { answers } = reportPaths(report)
  return existsSync(answers) ? `${answers} ${keeps}, and the same command goes on` : NOTHING_KEPT
}
