import { openTraceFile } from '../calibrate/trace-file.js'
import { countQuestions, traceTasks } from '../calibrate/trace-task.js'
import { printable } from '../errors.js'
import { type Cli, note, printJson, UsageError } from './cli.js'
import { noteFullDepth } from './made-for.js'
import { type ModelOptions, withModel } from './model-options.js'
import { bar, createProgressLine } from './progress-line.js'
import { loadTasks, type TaskOptions, templateOf, timeLeft } from './task-options.js'

export interface TraceTaskOptions extends ModelOptions, TaskOptions {
  readonly task: readonly string[]
  readonly shots: number
  readonly positions: 'answer' | 'generated'
  readonly maxTokens: number
  readonly out?: string
}

/** `shoal trace --task`: exit features of every layer at the answers of tasks, as a Parquet file. */
export async function traceTask(cli: Cli, name: string | undefined, options: TraceTaskOptions): Promise<void> {
  const { out, task: names, shots, positions, maxTokens, seed, limit } = options
  if (out === undefined) throw new UsageError('with --task, -o FILE.parquet says where the traces go')
  if (!out.toLowerCase().endsWith('.parquet'))
    throw new UsageError('traces of tasks go to a file that ends in .parquet')
  await withModel(
    cli,
    name,
    options,
    async (model) => {
      const tasks = await loadTasks(names, options)
      await noteFullDepth(cli, model)
      const traceOptions = {
        shots,
        seed,
        positions,
        maxTokens,
        signal: cli.signal,
        ...templateOf(options),
        ...(limit === undefined ? {} : { limit }),
      }
      const { signal: _, ...facts } = traceOptions
      const sources = tasks.map(({ sources }) => sources)
      const file = openTraceFile(out, {
        model: model.fingerprint,
        quantization: model.quantization,
        tasks: names,
        sources,
        ...facts,
      })
      const total = countQuestions(model, tasks, traceOptions)
      const line = createProgressLine(cli)
      const started = performance.now()
      let done = file.done.size
      if (done > 0) note(cli, `going on after ${done} of ${total} questions that ${printable(out)}.partial holds`)
      const before = done
      try {
        for await (const record of traceTasks(model, tasks, traceOptions, file.done)) {
          file.append(record)
          done++
          line.show(
            `${bar(done / total)} ${done} of ${total} questions · ${timeLeft(started, done - before, total - before)}`,
          )
        }
        await file.finish()
      } catch (error) {
        line.clear()
        if (cli.signal.aborted)
          note(
            cli,
            `stopped; ${printable(out)}.partial keeps ${done} of ${total} questions, and the same command goes on`,
          )
        throw error
      } finally {
        line.clear()
        file.close()
      }
      if (options.json) {
        printJson(cli, { model: model.name, quantization: model.quantization, tasks: names, questions: total, out })
        return
      }
      cli.stdout.write(
        `${printable(out)}: ${total} questions of ${names.join(', ')}, ${model.hyperparameters.layers} layers each\n`,
      )
    },
    { slots: 1 },
  )
}
