import { type Command, InvalidArgumentError } from 'commander'
import { loadTask, type Task } from '../tasks/index.js'
import { UsageError } from './cli.js'
import { repeatable, wholeNumber } from './values.js'

/** Options that every command which asks a task's questions has. */
export interface TaskOptions {
  readonly data?: string
  readonly template?: string
  readonly seed: number
  readonly limit?: number
}

export function addTaskOptions(command: Command): Command {
  return command
    .option('--data <folder>', 'folder of published data files; default SHOAL_DATA, then the three bundled tasks')
    .option('--template <text>', 'how an item is written: "Q: {input}\\nA: {output}\\n\\n" by default')
    .option('--seed <n>', 'of the shots', wholeNumber(0, 2 ** 32 - 1), 0)
    .option('--limit <n>', 'questions of a task at most', wholeNumber(1))
}

export interface TaskNames {
  readonly task?: readonly string[]
}

export function addTaskNames(command: Command, description: string): Command {
  return command.addOption(repeatable('--task <name>', description, taskName))
}

/** The names, of which there must be one. */
export function requireTasks({ task }: TaskNames): readonly string[] {
  if (task === undefined) throw new UsageError('--task NAME is missing; shoal eval tasks shows what there is')
  return task
}

function taskName(text: string): string {
  if (text.trim() === '') throw new InvalidArgumentError('It must be a name such as fruit_v_animal_3.')
  return text
}

export async function loadTasks(names: readonly string[], { data }: TaskOptions): Promise<Task[]> {
  const tasks: Task[] = []
  for (const name of names) tasks.push(await loadTask(name, data === undefined ? {} : { data }))
  return tasks
}

/** A template from the command line, where `\n` stands for a line break. */
export function templateOf({ template }: TaskOptions): { template?: string } {
  return template === undefined ? {} : { template: template.replaceAll('\\n', '\n') }
}

/** Progress with an estimate of the time left. */
export function timeLeft(started: number, done: number, total: number): string {
  if (done === 0) return ''
  const seconds = Math.round(((performance.now() - started) / done) * (total - done) * 0.001)
  return seconds < 90 ? `${seconds} s left` : `${Math.round(seconds / 60)} min left`
}
