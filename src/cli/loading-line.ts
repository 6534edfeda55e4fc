import type { Command } from 'commander'
import type { ProgressListener } from '../convert/progress.js'
import { type ResolveOptions, resolveModel } from '../convert/resolve-model.js'
import type { ProgressInfo } from '../engine/api.js'
import { printable } from '../errors.js'
import { type Cli, note } from './cli.js'
import { bar, bytesText, createProgressLine } from './progress-line.js'

/** What a command that takes a model has beside it. */
export interface RevisionOption {
  readonly revision?: string
}

/** Names of files in a note; there may be a hundred. */
const MOST_NAMES = 12

export function addRevisionOption(command: Command): Command {
  return command.option('--revision <rev>', 'of a model on the Hub: branch, tag or commit; default main')
}

/**
 * Does what loads a model with its progress on stderr. What will be fetched is told before it is; where that is stopped, one
 * line says what is kept.
 */
export async function withLoadingLine<T>(cli: Cli, load: (progress: ProgressListener) => Promise<T>): Promise<T> {
  const line = createProgressLine(cli)
  const listed: ProgressInfo[] = []
  let fetching = false
  try {
    return await load((info) => {
      fetching = info.stage === 'download' && info.status !== 'done'
      if (fetching && info.status === 'initiate') {
        listed.push(info)
        return
      }
      if (listed.length > 0) note(cli, fetchText(listed.splice(0)))
      line.show(progressText(info))
    })
  } catch (error) {
    line.clear()
    if (cli.signal.aborted && fetching)
      note(cli, 'stopped; what has come is kept, and the same command goes on from there')
    throw error
  } finally {
    line.clear()
  }
}

/**
 * Puts a model of the Hub onto this machine, for a command that needs its files: the folder or file that it is there. Other names
 * stay as they are.
 */
export async function fetchNamed(
  cli: Cli,
  model: string,
  { revision }: RevisionOption,
  need: ResolveOptions['need'] & string = 'all',
): Promise<string> {
  const resolved = await withLoadingLine(cli, (progress) =>
    resolveModel(model, { need, signal: cli.signal, progress, ...(revision !== undefined && { revision }) }),
  )
  for (const warning of resolved.warnings) note(cli, `warning: ${warning}`)
  return resolved.model
}

function fetchText(files: readonly ProgressInfo[]): string {
  const size = (value: (file: ProgressInfo) => number): number => files.reduce((sum, file) => sum + value(file), 0)
  const names = files.slice(0, MOST_NAMES).map(({ file, total }) => `${printable(file, 80)} ${bytesText(total)}`)
  const sum = files.length === 1 ? '' : ` · ${bytesText(size(({ total }) => total))}`
  const more = files.length > MOST_NAMES ? ` and ${files.length - MOST_NAMES} more` : ''
  const here = size(({ loaded }) => loaded)
  const rest = here === 0 ? '' : `, ${bytesText(here)} of it here already`
  return `fetching ${files[0]?.name} from the Hub: ${names.join(', ')}${more}${sum}${rest}`
}

export function progressText(info: ProgressInfo): string {
  const { status, stage, name, file, progress, loaded, total } = info
  if (stage === 'download') {
    const share = `${Math.floor(progress)}%`.padStart(4)
    return `fetching ${name} ${bar(progress / 100)} ${share} ${bytesText(loaded)} of ${bytesText(total)} ${printable(file, 80)}`
  }
  if (status === 'initiate') return `converting ${name}`
  if (status !== 'progress') return `loading ${name}`
  const share = `${Math.floor(progress)}%`.padStart(4)
  return `converting ${name} ${bar(progress / 100)} ${share} ${bytesText(loaded)} of ${bytesText(total)}`
}
