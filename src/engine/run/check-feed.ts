import { InputError } from '../../errors.js'
import type { Feed } from './step.js'

/**
 * Throws InputError where a feed cannot be run: an id has no row in the embedding (ggml would end the process), the sequence does not stand where
 * the depth needs it, or logits are wanted of a row that is gone.
 */
export function checkFeed(
  { sequence, ids, depth, logitsFrom }: Pick<Feed, 'sequence' | 'ids' | 'depth'> & { readonly logitsFrom: number },
  vocabulary: number,
): void {
  if (ids.length === 0) throw new InputError('a step needs at least one token')
  const wrong = ids.find((id) => !(id >= 0 && id < vocabulary))
  if (wrong !== undefined) throw new InputError(`token id ${wrong} is out of range: the ids are 0 to ${vocabulary - 1}`)
  const { length } = sequence
  if (depth.kind === 'plan') {
    const behind = depth.layers.find((l) => sequence.cached[l] !== length)
    if (behind !== undefined) {
      throw new InputError(`layer ${behind} has not seen every position of the sequence, so a plan cannot use it`)
    }
  } else {
    if (sequence.waiting !== length - sequence.complete) {
      throw new InputError('a skip plan has left layers out for this sequence, so it cannot go on under an exit policy')
    }
    const unknown = depth.checkTokens?.find((id) => id >= vocabulary)
    if (unknown !== undefined) {
      throw new InputError(`the check head asks for token ${unknown}, beyond the model's vocabulary`)
    }
  }
  if (logitsFrom < sequence.complete || logitsFrom >= length + ids.length) {
    throw new InputError(`logits from position ${logitsFrom} on are wanted, and that row is not at hand`)
  }
}
