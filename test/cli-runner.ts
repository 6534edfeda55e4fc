import { Readable } from 'node:stream'
import type { Cli } from '../src/cli/cli.js'
import { main } from '../src/cli/main.js'

export interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs a command line in this process. */
export async function shoal(
  args: readonly string[],
  overrides: Partial<Cli> & { input?: string } = {},
): Promise<Ended> {
  const { input = '', ...rest } = overrides
  let stdout = ''
  let stderr = ''
  const code = await main(args, {
    stdin: Readable.from(input === '' ? [] : [input]),
    stdout: { write: (text) => (stdout += text) },
    stderr: { write: (text) => (stderr += text) },
    env: {},
    signal: new AbortController().signal,
    ...rest,
  })
  return { code, stdout, stderr }
}
