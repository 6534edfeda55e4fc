import { InputError } from '../errors.js'
import type { ChatTemplate } from './chat-template.js'

const ANSWER = 'answerofthemodel'

/**
 * What the template writes after the last answer of a conversation, such as `<|im_end|>\n`: the special token that it begins
 * with, blanks aside, ends an answer. Null where the template refuses such a conversation or leaves the answer out.
 */
export function answerEnd(template: ChatTemplate): string | null {
  const messages = [
    { role: 'user', content: 'a' },
    { role: 'assistant', content: ANSWER },
  ]
  try {
    const text = template.render({ messages, addGenerationPrompt: false })
    const at = text.lastIndexOf(ANSWER)
    return at < 0 ? null : text.slice(at + ANSWER.length)
  } catch (error) {
    if (error instanceof InputError) return null
    throw error
  }
}
