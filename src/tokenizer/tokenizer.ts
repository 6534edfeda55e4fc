export interface EncodeOptions {
  /** What the model adds to a text: BOS for one. Default true. */
  readonly addSpecialTokens?: boolean
  /** Special tokens that the text spells become themselves; false leaves them text. Default true. */
  readonly parseSpecial?: boolean
}

export interface DecodeOptions {
  /** Leave out what is no text: BOS, ends of turns. Default false. */
  readonly skipSpecialTokens?: boolean
  /** The tokens follow others: SentencePiece's space at the start of the first one is part of the text. Default false. */
  readonly continues?: boolean
}

/** Text to token ids and back. */
export interface Tokenizer {
  /** The largest id + 1. */
  readonly size: number
  /** Ids that end a generation, as far as the tokenizer itself tells. */
  readonly endIds: readonly number[]
  encode(text: string, options?: EncodeOptions): number[]
  /**
   * The text of exactly these tokens: no spaces are tidied up. Ids that the tokenizer lacks have no text; bytes that are
   * no UTF-8 become U+FFFD.
   */
  decode(ids: readonly number[], options?: DecodeOptions): string
  /** True for a token that is no text: BOS, an end of turn. */
  isSpecial(id: number): boolean
  /** Frees native memory. A model disposes its own. */
  dispose(): void
}
