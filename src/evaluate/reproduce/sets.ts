import { InputError } from '../../errors.js'
import { loadTask, TASKS, type Task, taskDefinition } from '../../tasks/index.js'
import { spread } from '../../tasks/spread.js'

/** The name under which all rule-understanding tasks are pooled. */
const RULES = 'rules'

/** What the paper's table has (arXiv 2403.02181, section 4.1). */
export const PAPER_SETS: readonly string[] = ['mmlu', 'commonsense_qa', 'squad', 'sst2', 'ag_news', RULES]

/** A row group of the table: one task, or several whose questions are pooled. */
export interface TaskSet {
  readonly name: string
  readonly group: string
  readonly tasks: readonly Task[]
}

export interface LoadSetsOptions {
  readonly data?: string
  /** Questions of a set at most; default all. */
  readonly limit?: number
}

/**
 * Loads what there is data of.
 * @returns the sets, and a line for each that is left out or lacks tasks
 * @throws InputError for a name that is no task, FileError for a damaged file
 */
export async function loadSets(
  names: readonly string[],
  options: LoadSetsOptions = {},
): Promise<{ sets: TaskSet[]; missing: string[] }> {
  const sets: TaskSet[] = []
  const missing: string[] = []
  for (const name of new Set(names)) {
    const wanted =
      name === RULES
        ? TASKS.filter(({ group }) => group === 'rule understanding').map((task) => task.name)
        : [nameOf(name)]
    const tasks: Task[] = []
    for (const task of wanted) {
      const loaded = await loadIfThere(task, options.data)
      if (loaded !== null) tasks.push(loaded)
    }
    if (tasks.length < wanted.length) {
      const advice = 'give the folder of its published files with --data or SHOAL_DATA'
      missing.push(
        wanted.length === 1
          ? `${name} is left out: no data; ${advice}`
          : `${name} is ${tasks.length} of ${wanted.length} tasks, the others have no data; ${advice}`,
      )
    }
    const first = tasks[0]
    if (first !== undefined) sets.push({ name, group: first.group, tasks: limited(tasks, options.limit) })
  }
  return { sets, missing }
}

/** A name, if it is one; files of one's own are their own name. */
function nameOf(name: string): string {
  return /\.jsonl?$/.test(name) ? name : taskDefinition(name).name
}

/** Null where there are no files. */
async function loadIfThere(name: string, data: string | undefined): Promise<Task | null> {
  try {
    return await loadTask(name, data === undefined ? {} : { data })
  } catch (error) {
    if (error instanceof InputError) return null
    throw error
  }
}

/** At most `limit` questions over all tasks, as many of each as can be, spread over its file. */
function limited(tasks: readonly Task[], limit: number | undefined): Task[] {
  if (limit === undefined) return [...tasks]
  const counts = shares(
    tasks.map(({ items }) => items.length),
    limit,
  )
  return tasks.flatMap((task, t) => (counts[t] === 0 ? [] : [{ ...task, items: spread(task.items, counts[t]!) }]))
}

/** How many of each, so that they sum to `limit` or to all there are, and none has fewer than it must. */
export function shares(sizes: readonly number[], limit: number): number[] {
  const counts = sizes.map(() => 0)
  let left = limit
  for (let progress = true; left > 0 && progress; ) {
    progress = false
    for (const [i, size] of sizes.entries()) {
      if (left === 0 || (counts[i] as number) >= size) continue
      counts[i] = (counts[i] as number) + 1
      left--
      progress = true
    }
  }
  return counts
}
