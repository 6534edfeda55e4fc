export interface EncodeOptions {
  /** What the model adds to a text: BOS for one. Default true. */
  readonly addSpecialTokens?: boolean
  /**
   * Special tokens that the text spells become themselves; false leaves them text. Added tokens that are not special become
   * themselves either way. Default true.
   */
  readonly parseSpecial?: boolean
}

export interface DecodeOptions {
  /** Leave out what is no text: BOS, ends of turns. Default false. */
  readonly skipSpecialTokens?: boolean
  /** The tokens follow others: a space that SentencePiece puts before a text is then the text's own. Default false. */
  readonly continues?: boolean
}

/** Text to token ids and back. */
export interface Tokenizer {
  /** The largest id + 1. It may lie beyond the model's vocabulary. */
  readonly size: number
  /** Ids that end a generation, as far as the tokenizer itself tells. */
  readonly endIds: readonly number[]
  /**
   * Lone surrogates of `text` become U+FFFD.
   * @throws InputError where the tokenizer has no token for some of the text, and for wrong arguments
   */
  encode(text: string, options?: EncodeOptions): number[]
  /**
   * The text of exactly these tokens: no spaces are tidied up, and bytes that are no UTF-8 become U+FFFD. Ids that the
   * tokenizer lacks have no text.
   */
  decode(ids: readonly number[], options?: DecodeOptions): string
  /** A token as the vocabulary spells it, such as `Ġthe` or `▁the`; null where there is none. */
  piece(id: number): string | null
  /** True for a token that is no text: BOS, an end of turn. */
  isSpecial(id: number): boolean
  /** Frees native memory. A model disposes its own. */
  dispose(): void
}
