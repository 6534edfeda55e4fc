import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { openTraceFile } from '../../calibrate/trace-file.js'
import { traceTasks } from '../../calibrate/trace-task.js'
import { readTraces, type TraceSet } from '../../calibrate/traces.js'
import { makeFolder } from '../../checkpoint/make-folder.js'
import type { Model } from '../../engine/api.js'
import { FileError } from '../../errors.js'
import { DEFAULT_TEMPLATE } from '../../tasks/index.js'
import type { ReproduceOptions } from './adainfer.js'
import type { TaskSet } from './sets.js'

/**
 * The full-depth traces of a set's answers, from the work folder where they are there, else made and kept there. A stopped
 * run goes on where it was. The name of the file depends on everything that the traces do, so one folder serves all runs.
 * @param count of the questions that fit the context; null is returned where there are none
 */
export async function keptTraces(
  model: Model,
  set: TaskSet,
  shots: number,
  count: number,
  options: Omit<ReproduceOptions, 'sets' | 'shots'>,
): Promise<TraceSet | null> {
  if (count === 0) return null
  const { seed, work, template, signal, onQuestions } = options
  const run = {
    model: model.fingerprint,
    quantization: model.quantization,
    context: model.context,
    tasks: set.tasks.map(({ name }) => name),
    data: hash(set.tasks.map(({ items, shots: pool }) => [items, pool])),
    shots,
    seed,
    template: template ?? DEFAULT_TEMPLATE,
  }
  const words = `${model.name}-${set.name}`.replace(/[^\w.-]+/g, '_').slice(-80)
  const path = join(work, `${words}-${shots}-${hash(run).slice(0, 12)}.parquet`)
  if (existsSync(path)) {
    onQuestions?.(count, false)
  } else {
    await makeFolder(work)
    const file = openTraceFile(path, run)
    try {
      onQuestions?.(file.done.size, false)
      const wanted = { shots, seed, positions: 'answer' as const, maxTokens: 1 }
      const more = { ...(template === undefined ? {} : { template }), ...(signal === undefined ? {} : { signal }) }
      for await (const record of traceTasks(model, set.tasks, { ...wanted, ...more }, file.done)) {
        file.append(record)
        onQuestions?.(1, true)
      }
      await file.finish()
    } finally {
      file.close()
    }
  }
  const traces = await readTraces(path)
  if (traces.sequences !== count || traces.layers !== model.hyperparameters.layers) {
    throw new FileError(path, `holds ${traces.sequences} questions where ${count} are asked; remove it to begin anew`)
  }
  return traces
}

function hash(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex')
}
