import { writeFigures, writeReport } from '../evaluate/report/write.js'
import type { EvalReport } from '../evaluate/result.js'
import { type Cli, note } from './cli.js'

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
