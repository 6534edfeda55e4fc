import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { type AskOptions, planQuestions, traceQuestions } from '../calibrate/ask.js'
import { exportParquet } from '../calibrate/parquet-export.js'
import { printable } from '../errors.js'
import { type Cli, NOTHING_KEPT, printJson, tellWhenStopped, UsageError } from './cli.js'
import { readLensFile } from './lens-file.js'
import { noteFullDepth } from './made-for.js'
import { type ModelOptions, withModel } from './model-options.js'
import { loadTasks, type TaskOptions, templateOf } from './task-options.js'
import { withTraceProgress } from './trace-progress.js'

export interface TraceTaskOptions extends ModelOptions, TaskOptions {
  readonly task: readonly string[]
  readonly shots: number
  readonly draws: number
  readonly positions: 'answer' | 'generated'
  readonly maxTokens: number
  readonly out?: string
  /** A file: layers are read through it. */
  readonly lens?: string
}

/** `shoal trace --task`: exit features of every layer at the answers of tasks, as a file of questions or as Parquet. */
export async function traceTask(cli: Cli, name: string | undefined, options: TraceTaskOptions): Promise<void> {
  const { out, task: names, shots, draws, positions, maxTokens, seed, limit } = options
  if (out === undefined) throw new UsageError('with --task, -o FILE.jsonl says where the traces go')
  const parquet = out.toLowerCase().endsWith('.parquet')
  if (!parquet && !out.toLowerCase().endsWith('.jsonl'))
    throw new UsageError('traces of tasks go to a file that ends in .jsonl, or in .parquet for other programs')
  const path = parquet ? `${out}.partial` : out
  const run = () =>
    withModel(
      cli,
      name,
      options,
      async (model) => {
        const tasks = await loadTasks(names, options)
        await noteFullDepth(cli, model)
        const lens = options.lens === undefined ? undefined : await readLensFile(cli, options.lens, model)
        const asking: AskOptions = {
          shots,
          draws,
          seed,
          positions,
          maxTokens,
          signal: cli.signal,
          ...(lens === undefined ? {} : { lens }),
          ...templateOf(options),
          ...(limit === undefined ? {} : { limit }),
        }
        const { questions } = planQuestions(model, tasks, asking)
        await withTraceProgress(cli, path, '', (keeping) => traceQuestions(model, tasks, questions, asking, keeping))
        if (parquet) {
          await exportParquet(path, out)
          await rm(path)
        }
        if (options.json) {
          printJson(cli, {
            model: model.name,
            quantization: model.quantization,
            tasks: names,
            questions: questions.length,
            out,
          })
          return
        }
        cli.stdout.write(
          `${printable(out)}: ${questions.length} questions of ${names.join(', ')}, ${model.hyperparameters.layers} layers each\n`,
        )
      },
      { slots: 1 },
    )
  const kept = () =>
    existsSync(path) ? `${printable(path)} keeps the questions so far, and the same command goes on` : NOTHING_KEPT
  await tellWhenStopped(cli, kept, run)
}
