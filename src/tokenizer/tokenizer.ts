/** Text to token ids and back. */
export interface Tokenizer {
  /** The largest id + 1. It may lie beyond the model's vocabulary. */
  readonly size: number
  /**
   * Lone surrogates of `text` become U+FFFD.
   * @param options.addSpecialTokens what the post-processor adds, BOS for one; default true
   * @param options.parseSpecial special tokens that the text spells become their ids; default true. With false they are
   *   plain text; added tokens that are not special still become their ids.
   * @throws InputError where the tokenizer has no token for some of the text
   */
  encode(text: string, options?: { addSpecialTokens?: boolean; parseSpecial?: boolean }): number[]
  /**
   * The text of exactly these tokens: no spaces are tidied up, and bytes that are no UTF-8 become U+FFFD. Ids that the
   * tokenizer lacks have no text.
   */
  decode(ids: readonly number[], options?: { skipSpecialTokens?: boolean }): string
  /** A token as the vocabulary spells it, such as `Ġthe` or `▁the`; null where there is none. */
  piece(id: number): string | null
  /** Whether this is an added token that is marked as special. */
  isSpecial(id: number): boolean
}
