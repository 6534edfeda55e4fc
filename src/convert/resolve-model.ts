import { InputError } from '../errors.js'
import type { Need } from '../hub/choose-files.js'
import { fetchModel } from '../hub/fetch-model.js'
import { parseHubId } from '../hub/hub-id.js'
import { isLocalModel } from './locate-model.js'
import type { ProgressListener } from './progress.js'

export interface ResolveOptions {
  /** Branch, tag or commit of a model on the Hub; refused for one on this machine. */
  readonly revision?: string
  /** What it is wanted for; default to run. */
  readonly need?: Need
  readonly progress?: ProgressListener
  readonly signal?: AbortSignal
}

export interface ResolvedModel {
  /** What `locateModel` takes: a path, or the name of a bundled model. */
  readonly model: string
  readonly warnings: readonly string[]
}

/** `org/name@REVISION`, as `shoal models remove` takes it. */
const REVISION_BEHIND = /^([^/@\s]+\/[^/@\s]+)@([^@\s]+)$/

/**
 * Puts a model of the Hub onto this machine. What names a folder, a file or a bundled model stays as it is, and so does what is no
 * name of the Hub.
 * @throws HubError, UnsupportedError, InputError, FileError; ShoalError `aborted`
 */
export async function resolveModel(model: string, options: ResolveOptions = {}): Promise<ResolvedModel> {
  const { revision, ...rest } = options
  const id = isLocalModel(model) ? null : parseHubId(model)
  if (id !== null) {
    const { path, warnings } = await fetchModel(id, { ...rest, ...(revision !== undefined && { revision }) })
    return { model: path, warnings }
  }
  const [, named, at] = isLocalModel(model) ? [] : (REVISION_BEHIND.exec(model) ?? [])
  if (named !== undefined && parseHubId(named) !== null)
    throw new InputError(
      `${model}: with a revision a model on the Hub is hf:${model}, or ${named} with --revision ${at}`,
    )
  if (revision !== undefined) throw new InputError(`${model}: a revision is for models on the Hub, and this is none`)
  return { model, warnings: [] }
}
