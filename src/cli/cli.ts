import type { Command } from 'commander'
import type { LoadOptions, Model } from '../engine/api.js'
import { didYouMean } from '../nearest-name.js'

/** What a command reads from, writes to and is stopped by; tests put their own in place. */
export interface Cli {
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean }
  readonly stdout: Output
  readonly stderr: Output
  readonly env: Readonly<Record<string, string | undefined>>
  /** Aborted by Ctrl-C, unless a command takes that for itself. */
  readonly signal: AbortSignal
  /**
   * For a command that goes on after Ctrl-C: calls `interrupt` in place of aborting the signal, until the function that
   * comes back is called.
   */
  takeInterrupts(interrupt: () => void): () => void
  /** What the process ends with unless an error is thrown. */
  exitCode: number
  loadModel(model: string | undefined, options: LoadOptions): Promise<Model>
}

export interface Output {
  write(text: string): unknown
  readonly isTTY?: boolean
  readonly columns?: number
}

/** One command of `shoal`: its file builds this when the command is asked for, and not before. */
export type CommandBuilder = (cli: Cli) => Command

/** Wrong use of the command line; the process ends with 2. */
export class UsageError extends Error {}

/** A line for people, beside what the command is asked to print. */
export function note(cli: Cli, line: string): void {
  cli.stderr.write(`shoal: ${line}\n`)
}

const noted = new WeakMap<Cli, Set<string>>()

/** A line that one command says once, however often it holds. */
export function noteOnce(cli: Cli, line: string): void {
  const lines = noted.get(cli) ?? new Set()
  noted.set(cli, lines)
  if (lines.has(line)) return
  lines.add(line)
  note(cli, line)
}

export function printJson(cli: Cli, document: unknown): void {
  cli.stdout.write(`${JSON.stringify(document)}\n`)
}

/** For a command that has commands of its own: says which there are where none of them is named. */
export function requireSubcommand(command: Command): Command {
  return command
    .allowUnknownOption()
    .argument('[command...]')
    .action(([given]: string[]) => {
      const known = command.commands.map((child) => child.name())
      if (given === undefined || given.startsWith('-'))
        throw new UsageError(`shoal ${command.name()} needs one of ${known.join(', ')}`)
      throw unknownCommand(given, known)
    })
}

export function unknownCommand(given: string, known: readonly string[]): UsageError {
  return new UsageError(`unknown command ${given}; known: ${known.join(', ')}${didYouMean(given, known)}`)
}

/** Rethrows where Ctrl-C was pressed, between two steps that do not look at the signal themselves. */
export function throwIfStopped(cli: Cli): void {
  cli.signal.throwIfAborted()
}

/** Does long work; where Ctrl-C ends it, one line says what is kept and how to go on. */
export async function tellWhenStopped<T>(cli: Cli, kept: () => string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (cli.signal.aborted) note(cli, `stopped; ${kept()}`)
    throw error
  }
}

/** Of work that begins anew. */
export const NOTHING_KEPT = 'nothing is kept: the same command begins anew'
