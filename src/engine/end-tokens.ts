import type { Tokenizer } from '../tokenizer/tokenizer.js'
import type { Conversation } from './conversation.js'
import { tokenIds } from './special-text.js'

export interface EndSources {
  /** Ids that the checkpoint's files name. */
  readonly stated: readonly number[]
  /** Spelling of the tokenizer's end-of-text token. */
  readonly eos: string | null
  readonly tokenizer: Tokenizer | null
  readonly conversation: Conversation | null
  /** V: ids from here on have no logit, so nothing ends with them. */
  readonly vocabulary: number
}

/**
 * The tokens that end a text: all that anybody names. One source alone is often wrong: generation_config.json lists
 * the end of a document, and turns end with another token that only the tokenizer or the chat template knows.
 */
export function endTokens({ stated, eos, tokenizer, conversation, vocabulary }: EndSources): ReadonlySet<number> {
  const ids = [...stated]
  if (tokenizer !== null) {
    const own = eos === null ? [] : tokenIds(tokenizer, eos)
    // The spelling of a token that the tokenizer lacks is ordinary text.
    if (own.length === 1) ids.push(...own)
    ids.push(...tokenizer.endIds)
  }
  const turn = conversation?.endOfTurn ?? null
  if (turn !== null) ids.push(turn)
  return new Set(ids.filter((id) => id < vocabulary))
}
