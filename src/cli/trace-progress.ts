import type { TraceOptions } from '../calibrate/ask.js'
import { printable } from '../errors.js'
import { type Cli, note } from './cli.js'
import { bar, createProgressLine } from './progress-line.js'
import { timeLeft } from './task-options.js'

/**
 * Shows how far a run over questions is, and says where it goes on with those of an earlier one.
 * @param path where they are kept
 * @param name what the line begins with
 */
export async function withTraceProgress<T>(
  cli: Cli,
  path: string | undefined,
  name: string,
  run: (options: TraceOptions) => Promise<T>,
): Promise<T> {
  const line = createProgressLine(cli)
  const started = performance.now()
  return await run({
    ...(path === undefined ? {} : { path }),
    onKept: (count) => note(cli, `going on with the ${count} questions that ${printable(path!)} holds`),
    onProgress(done, total, before) {
      const left = timeLeft(started, done - before, total - before)
      line.show(`${name}${bar(done / total)} ${done} of ${total} questions · ${left}`)
    },
  }).finally(() => line.clear())
}
