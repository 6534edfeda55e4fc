import { Command } from 'commander'
import { taskGroups } from '../tasks/index.js'
import { type Cli, printJson } from './cli.js'
import { addOutputOptions, type OutputOptions } from './output-options.js'

export function buildEvalTasks(cli: Cli): Command {
  return addOutputOptions(
    new Command('tasks').summary('show the names of all tasks').description('Show the names of all tasks.'),
  )
    .usage('[options]')
    .action((options: OutputOptions) => list(cli, options))
}

function list(cli: Cli, { json }: OutputOptions): void {
  const groups = taskGroups()
  if (json) {
    printJson(cli, { groups: [...groups].map(([group, tasks]) => ({ group, tasks })) })
    return
  }
  for (const [group, tasks] of groups) cli.stdout.write(`${group}:\n${wrapped(tasks)}\n`)
}

/** Names in lines of at most 100 letters. */
function wrapped(names: readonly string[]): string {
  const lines = ['']
  for (const name of names) {
    if (`${lines.at(-1)} ${name}`.length > 98) lines.push('')
    lines.push(`${lines.pop()} ${name}`)
  }
  return lines.map((line) => ` ${line}\n`).join('')
}
