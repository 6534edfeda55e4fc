import type { ForcedText } from '../../engine/known-text.js'

/** Tokens of texts that have a loss: those after the prompts. */
export function tokensOf(texts: readonly ForcedText[]): number {
  return texts.reduce((sum, { ids, promptLength }) => sum + ids.length - promptLength, 0)
}
