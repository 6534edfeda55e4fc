import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { askQuestions, type PlannedQuestion, questionFacts } from '../../calibrate/ask.js'
import { openQuestions, type QuestionRecord } from '../../calibrate/question-file.js'
import { type TraceSet, traceSetOf } from '../../calibrate/traces.js'
import { makeFolder } from '../../checkpoint/make-folder.js'
import type { Model } from '../../engine/api.js'
import type { ReproduceOptions } from './adainfer.js'
import type { TaskSet } from './sets.js'

/**
 * The full-depth traces of a set's answers, from the work folder as far as they are there, else made and kept there. The name
 * of the file depends on everything that a question's answer does, so one folder serves all runs.
 * @returns null where there are no questions
 */
export async function keptTraces(
  model: Model,
  set: TaskSet,
  shots: number,
  questions: readonly PlannedQuestion[],
  options: Omit<ReproduceOptions, 'sets' | 'shots'>,
): Promise<TraceSet | null> {
  if (questions.length === 0) return null
  const { seed, work, template, signal, onQuestions } = options
  const asking = {
    shots,
    seed,
    positions: 'answer' as const,
    maxTokens: 1,
    ...(template === undefined ? {} : { template }),
    ...(signal === undefined ? {} : { signal }),
  }
  const facts = questionFacts(model, set.tasks, asking)
  const pools = set.tasks.map((task) => task.shots)
  const words = `${model.name}-${set.name}`.replace(/[^\w.-]+/g, '_').slice(-80)
  await makeFolder(work)
  const path = join(work, `${words}-${shots}-${hash([facts, pools]).slice(0, 12)}.jsonl`)
  const store = openQuestions(path, facts)
  try {
    const records: QuestionRecord[] = []
    for await (const { record, known } of askQuestions(model, questions, asking, store)) {
      records.push(record)
      onQuestions?.(1, !known)
    }
    return traceSetOf(records, facts, path)
  } finally {
    store.close()
  }
}

function hash(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex')
}
