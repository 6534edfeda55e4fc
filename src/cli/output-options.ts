import type { Command } from 'commander'

/** Options that every command has. */
export interface OutputOptions {
  readonly json?: boolean
  readonly verbose?: boolean
}

export function addOutputOptions(command: Command): Command {
  return command
    .option('--json', 'print one JSON document and nothing else on stdout')
    .option('--verbose', 'show where an error comes from')
}
