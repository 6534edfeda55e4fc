import type { Tokenizer } from '../tokenizer/tokenizer.js'

/** How a special token is spelled; empty for a token of ordinary text. */
export function specialText(tokenizer: Pick<Tokenizer, 'decode'>, id: number): string {
  return tokenizer.decode([id], { skipSpecialTokens: true }) === '' ? tokenizer.decode([id]) : ''
}
