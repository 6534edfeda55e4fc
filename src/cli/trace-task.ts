import { rm } from 'node:fs/promises'
import { askQuestions, planQuestions, questionFacts } from '../calibrate/ask.js'
import { exportParquet } from '../calibrate/parquet-export.js'
import { openQuestions } from '../calibrate/question-file.js'
import { printable } from '../errors.js'
import { type Cli, note, printJson, UsageError } from './cli.js'
import { noteFullDepth } from './made-for.js'
import { type ModelOptions, withModel } from './model-options.js'
import { bar, createProgressLine } from './progress-line.js'
import { loadTasks, type TaskOptions, templateOf, timeLeft } from './task-options.js'

export interface TraceTaskOptions extends ModelOptions, TaskOptions {
  readonly task: readonly string[]
  readonly shots: number
  readonly draws: number
  readonly positions: 'answer' | 'generated'
  readonly maxTokens: number
  readonly out?: string
}

/** `shoal trace --task`: exit features of every layer at the answers of tasks, as a file of questions or as Parquet. */
export async function traceTask(cli: Cli, name: string | undefined, options: TraceTaskOptions): Promise<void> {
  const { out, task: names, shots, draws, positions, maxTokens, seed, limit } = options
  if (out === undefined) throw new UsageError('with --task, -o FILE.jsonl says where the traces go')
  const parquet = out.toLowerCase().endsWith('.parquet')
  if (!parquet && !out.toLowerCase().endsWith('.jsonl'))
    throw new UsageError('traces of tasks go to a file that ends in .jsonl, or in .parquet for other programs')
  const path = parquet ? `${out}.partial` : out
  await withModel(
    cli,
    name,
    options,
    async (model) => {
      const tasks = await loadTasks(names, options)
      await noteFullDepth(cli, model)
      const asking = {
        shots,
        draws,
        seed,
        positions,
        maxTokens,
        signal: cli.signal,
        ...templateOf(options),
        ...(limit === undefined ? {} : { limit }),
      }
      const { questions } = planQuestions(model, tasks, asking)
      const total = questions.length
      const store = openQuestions(path, questionFacts(model, tasks, asking))
      const line = createProgressLine(cli)
      const started = performance.now()
      let done = 0
      let before = 0
      if (store.kept > 0) note(cli, `going on with the ${store.kept} questions that ${printable(path)} holds`)
      try {
        for await (const { known } of askQuestions(model, questions, asking, store)) {
          done++
          if (known) before++
          line.show(
            `${bar(done / total)} ${done} of ${total} questions · ${timeLeft(started, done - before, total - before)}`,
          )
        }
      } catch (error) {
        line.clear()
        if (cli.signal.aborted)
          note(cli, `stopped; ${printable(path)} keeps ${done} of ${total} questions, and the same command goes on`)
        throw error
      } finally {
        line.clear()
        store.close()
      }
      if (parquet) {
        await exportParquet(path, out)
        await rm(path)
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
