import { createHash } from 'node:crypto'
import { readTrace, storedTrace } from '../calibrate/question-file.js'
import type { PositionTrace } from '../calibrate/record.js'
import { openJournal } from '../checkpoint/journal.js'
import * as json from '../depth/json-field.js'
import type { Model } from '../engine/api.js'
import { DEFAULT_TEMPLATE, type Question, type Task } from '../tasks/index.js'
import type { KeptTraces } from './matrix-traces.js'

/** The traces of a matrix that is under way, a line for each question and model. */
export interface MatrixFile extends KeptTraces {
  /** Lines that an earlier run has left. */
  readonly kept: number
  /** To be called in the end; `remove` once the report is written. A file without traces never stays. */
  close(options?: { readonly remove: boolean }): void
}

/**
 * Opens the traces of a matrix, or begins to keep them. What is fitted on them may be another thing than before; the
 * prompts must be the same.
 * @throws FileError where the file holds the traces of other prompts
 */
export function openMatrixFile(
  path: string,
  tasks: readonly Task[],
  options: { shots: number; seed: number; template?: string; cacheType: string | null },
): MatrixFile {
  const { shots, seed, template = DEFAULT_TEMPLATE, cacheType } = options
  const known = new Map<string, PositionTrace>()
  const run = {
    tasks: tasks.map(({ name }) => name),
    contents_of_tasks: createHash('sha256')
      .update(JSON.stringify(tasks.map((task) => [task.items, task.shots])))
      .digest('hex')
      .slice(0, 16),
    shots,
    seed,
    template,
    cache_type: cacheType ?? 'default',
  }
  const journal = openJournal(path, 'shoal-matrix', run, (value, line) => {
    const at = json.fieldsOf({ file: path, name: `line ${line}`, value }, ['key', 'layers', 'trace'])
    known.set(json.text(at('key')), readTrace(at('trace'), json.whole(at('layers'), 2)))
  })
  let lines = known.size
  return {
    kept: known.size,
    recall: (model, task, question) => known.get(keyOf(model, task, question)),
    append(model, task, question, trace) {
      const key = keyOf(model, task, question)
      journal.append({ key, layers: model.hyperparameters.layers, trace: storedTrace(trace) })
      lines++
    },
    close: ({ remove } = { remove: false }) => journal.close({ remove: remove || lines === 0 }),
  }
}

/** Everything that the trace of a question depends on, beside what the first line of the file says. */
function keyOf({ fingerprint, quantization, context }: Model, { name }: Task, { index }: Question): string {
  return [fingerprint, quantization, context, name, index].join(' ')
}
