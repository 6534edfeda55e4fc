import type { Tokenizer } from '../tokenizer/tokenizer.js'

/** How a special token is spelled; empty for a token of ordinary text. */
export function specialText(tokenizer: Pick<Tokenizer, 'decode' | 'isSpecial'>, id: number): string {
  return tokenizer.isSpecial(id) ? tokenizer.decode([id]) : ''
}

/** The tokens of a text as it stands; none where the tokenizer lacks some of it. */
export function tokenIds(tokenizer: Pick<Tokenizer, 'encode'>, text: string): number[] {
  try {
    return tokenizer.encode(text, { addSpecialTokens: false })
  } catch {
    return []
  }
}
