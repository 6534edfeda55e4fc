import { InputError } from '../errors.js'
import type { PromptMessage } from './api.js'
import type { ForcedText } from './known-text.js'

/**
 * A copy of token ids that all have a row: the work begins later, and an id without one would end the process.
 * @throws InputError
 */
export function idsOfVocabulary(given: readonly number[], vocabulary: number): readonly number[] {
  checkList(given)
  const ids = Array.from(given)
  const wrong = ids.findIndex((id) => !Number.isInteger(id) || id < 0 || id >= vocabulary)
  if (wrong >= 0) throw new InputError(`token id ${ids[wrong]} is out of range: the ids are 0 to ${vocabulary - 1}`)
  if (ids.length === 0) throw new InputError('the prompt has no tokens')
  return ids
}

export function isMessages(prompt: readonly number[] | readonly PromptMessage[]): prompt is readonly PromptMessage[] {
  return typeof prompt[0] === 'object' && prompt[0] !== null
}

/** What is no list at all would fail far from here, or count as empty. */
export function checkList(given: unknown): void {
  if (Array.isArray(given) || ArrayBuffer.isView(given)) return
  throw new InputError('a prompt must be a text, a list of token ids or a list of chat messages')
}

/** Throws InputError for a text that has no prompt, or nothing after it. */
export function checkTexts(texts: readonly ForcedText[]): void {
  texts.forEach(({ ids, promptLength: p }, i) => {
    if (Number.isSafeInteger(p) && p >= 1 && p < ids.length) return
    throw new InputError(
      `text ${i}: the prompt length must be from 1 to ${ids.length - 1}, so that a token is left to predict`,
    )
  })
}
