import type { Message, Tokenizer } from '../checkpoint/tokenizer.js'
import { specialText, tokenIds } from './special-text.js'

/** Stands where a message's text would: no template changes it, and no tokenizer has it as a token. */
const SENTINEL = 'sentinel7q'

/**
 * The token that ends an answer in a model's own chat template: the special token that the template writes behind an
 * assistant's text, white space aside, be it an end mark or the start of the user's next message. Null where there is none.
 */
export function endOfTurn(tokenizer: Tokenizer): number | null {
  const rendered = tryRender(tokenizer, [
    { role: 'user', content: 'a' },
    { role: 'assistant', content: SENTINEL },
    { role: 'user', content: 'b' },
  ])
  const at = rendered?.lastIndexOf(SENTINEL) ?? -1
  if (rendered === null || at < 0) return null
  const [id] = tokenIds(tokenizer, rendered.slice(at + SENTINEL.length).trimStart())
  return id !== undefined && specialText(tokenizer, id) !== '' ? id : null
}

/** Whether the chat template has a place for a system message: some leave it out, others refuse it. */
export function takesSystem(tokenizer: Tokenizer): boolean {
  const messages = [
    { role: 'system', content: SENTINEL },
    { role: 'user', content: 'a' },
  ]
  return tryRender(tokenizer, messages)?.includes(SENTINEL) === true
}

/** Templates may refuse a conversation: one that cannot run at all says so when it is asked for an answer. */
function tryRender(tokenizer: Tokenizer, messages: readonly Message[]): string | null {
  if (!tokenizer.hasChatTemplate) return null
  try {
    return tokenizer.renderChat(messages)
  } catch {
    return null
  }
}
