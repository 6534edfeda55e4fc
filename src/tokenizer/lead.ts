import type { Tokenizer } from './tokenizer.js'

/** The tokens that a tokenizer puts before a text: BOS, or none. */
export function leadOf(tokenizer: Tokenizer): readonly number[] {
  const [whole, bare] = [tokenizer.encode('a'), tokenizer.encode('a', { addSpecialTokens: false })]
  const starts = (at: number): boolean => bare.every((id, i) => whole[at + i] === id)
  for (let at = 0; at + bare.length <= whole.length; at++) if (starts(at)) return whole.slice(0, at)
  return []
}
