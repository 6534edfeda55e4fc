import { ShoalError } from '../errors.js'

/** What a run ends with that its caller stopped. */
export function abortedError(reason: unknown): ShoalError {
  return new ShoalError('aborted', 'the run was aborted', { cause: reason })
}
