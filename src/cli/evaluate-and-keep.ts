import { reportPaths } from '../evaluate/report/write.js'
import type { EvalReport } from '../evaluate/result.js'
import { type Cli, note } from './cli.js'
import type { ModelOptions } from './model-options.js'
import { bar, createProgressLine } from './progress-line.js'
import { type ReportOptions, writeReportFiles } from './report-files.js'
import { timeLeft } from './task-options.js'

/** A file of what an evaluation has done so far. */
interface Kept {
  readonly kept: number
  close(options?: { readonly remove: boolean }): void
}

interface Steps<File> {
  /** What is counted: `answers`. */
  readonly unit: string
  readonly open: (
    path: string,
    settings: { readonly threads: number | null; readonly kvType: string | null },
  ) => Promise<File>
  readonly run: (more: {
    readonly kept?: File
    readonly onProgress: (done: number, total: number, before: number) => void
  }) => Promise<EvalReport>
}

/**
 * Evaluates and writes the report. With -o, what is done is kept beside it until it is written, so that the same command goes on
 * where one was stopped.
 */
export async function evaluateAndKeep<File extends Kept>(
  cli: Cli,
  options: ModelOptions & ReportOptions,
  { unit, open, run }: Steps<File>,
): Promise<EvalReport> {
  const { out: path, threads = null, kvType = null } = options
  const answers = path === undefined ? null : reportPaths(path).answers
  const kept = answers === null ? null : await open(answers, { threads, kvType })
  if (kept !== null && kept.kept > 0) note(cli, `going on with the ${unit} that ${answers} holds`)
  const line = createProgressLine(cli)
  const started = performance.now()
  let written = false
  try {
    const report = await run({
      ...(kept === null ? {} : { kept }),
      onProgress: (done, total, before) =>
        line.show(
          `${bar(done / total)} ${done} of ${total} ${unit} · ${timeLeft(started, done - before, total - before)}`,
        ),
    })
    line.clear()
    await writeReportFiles(cli, report, options)
    written = true
    return report
  } finally {
    line.clear()
    kept?.close({ remove: written })
  }
}
