import { existsSync } from 'node:fs'
import type { Command } from 'commander'
import { reportPaths, writeFigures, writeReport } from '../evaluate/report/write.js'
import type { EvalReport } from '../evaluate/result.js'
import { type Cli, NOTHING_KEPT, note } from './cli.js'

/** Where a report goes besides stdout. */
export interface ReportOptions {
  readonly out?: string
  readonly figures?: string
}

export function addReportOptions(command: Command): Command {
  return command
    .option('-o, --out <file>', 'write an HTML report, with Markdown and JSON beside it')
    .option('--figures <folder>', 'write every figure as SVG and PNG')
}

export async function writeReportFiles(cli: Cli, report: EvalReport, options: ReportOptions): Promise<void> {
  if (options.out !== undefined) await writeReport(report, options.out)
  if (options.figures === undefined) return
  const { warning } = await writeFigures(report, options.figures)
  if (warning !== null) note(cli, warning)
}

/** What a stopped evaluation leaves behind, for `tellWhenStopped`. */
export function keptBeside({ out }: ReportOptions, keeps: string): string {
  if (out === undefined) return 'nothing is kept: with -o FILE.html the same command goes on where it was'
  const { answers } = reportPaths(out)
  return existsSync(answers) ? `${answers} ${keeps}, and the same command goes on` : NOTHING_KEPT
}
