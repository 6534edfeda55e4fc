import type { Tokenizer } from '../tokenizer/tokenizer.js'
import { specialText } from './special-text.js'

/**
 * The tokens of a prompt, with what the tokenizer adds. A text that spells the token which the tokenizer puts before every
 * text gets it once: models have never seen it twice.
 */
export function promptTokens(tokenizer: Tokenizer, text: string): { ids: number[]; warnings: string[] } {
  const ids = tokenizer.encode(text)
  const [first, second] = ids
  if (first === undefined || first !== second) return { ids, warnings: [] }
  const spelled = specialText(tokenizer, first)
  if (spelled === '' || !text.startsWith(spelled) || tokenizer.encode('')[0] !== first) return { ids, warnings: [] }
  const warning = `the prompt begins with ${spelled}, which the tokenizer adds by itself: it is taken once`
  return { ids: ids.slice(1), warnings: [warning] }
}
