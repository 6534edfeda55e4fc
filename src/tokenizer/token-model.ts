import type { Vocabulary } from './vocabulary.js'

/** What turns one piece of text into tokens. */
export interface Model {
  readonly vocabulary: Vocabulary
  /** Appends the ids of a piece. Errors: InputError where it has no token for some of it. */
  encode(piece: string, ids: number[]): void
}
