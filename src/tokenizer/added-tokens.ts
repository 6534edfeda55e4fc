import { FileError } from '../errors.js'
import { isJsonObject } from '../json.js'
import { isId, LONGEST_TOKEN, quote } from './fields.js'
import { endWithoutSpaces, type Normalizer } from './normalizer.js'
import type { Piece } from './split.js'
import { Trie } from './trie.js'
import { asUnicode16, WORD } from './unicode.js'
import type { Vocabulary } from './vocabulary.js'

/** A token that is cut out of the text before the model sees it. */
export interface AddedToken {
  readonly id: number
  readonly content: string
  /** What it is in normalized text, where `normalized` says that it is looked for there. */
  readonly pattern: string
  readonly special: boolean
  readonly normalized: boolean
  readonly singleWord: boolean
  readonly stripsLeft: boolean
  readonly stripsRight: boolean
}

/** A stretch of text, or the id of an added token. */
export type Part = Piece | number

const STARTS_WITH_WORD = new RegExp(`^${WORD}`, 'v')
const SPACES_AT_START = /^\p{White_Space}*/u

/**
 * The list of added tokens. As in the Rust library, the id that an entry states does not count: a token of the
 * vocabulary keeps its id there, and others take the next ones. Errors: FileError.
 */
export function readAddedTokens(
  path: string,
  list: unknown,
  vocabulary: Vocabulary,
  normalizer: Normalizer | null,
): AddedToken[] {
  const entries = list ?? []
  if (!Array.isArray(entries)) throw new FileError(path, 'added_tokens is not a list of tokens')
  const tokens = new Map<string, AddedToken>()
  const taken = new Map<number, string>()
  let next = vocabulary.ids.size
  for (const entry of entries as unknown[]) {
    if (!isJsonObject(entry) || typeof entry.content !== 'string' || !isId(entry.id)) {
      throw new FileError(path, 'added_tokens is not a list of tokens, each with an id and content')
    }
    const content = entry.content.toWellFormed()
    const flag = (key: string): boolean => {
      const value = entry[key] ?? false
      if (typeof value === 'boolean') return value
      throw new FileError(path, `added_tokens: ${key} of ${quote(content)} is not true or false`)
    }
    if (content === '') continue
    const id = tokens.get(content)?.id ?? vocabulary.ids.get(content) ?? next++
    const other = taken.get(id) ?? vocabulary.tokens.get(id) ?? content
    if (other !== content) throw new FileError(path, `tokens ${quote(other)} and ${quote(content)} both have id ${id}`)
    const normalized = flag('normalized')
    const pattern = normalized && normalizer !== null ? normalizer.normalize(content) : content
    if (pattern === '') throw new FileError(path, `added_tokens: the normalizer leaves nothing of ${quote(content)}`)
    if (pattern.length > LONGEST_TOKEN) throw new FileError(path, `added_tokens: ${quote(content)} is too long`)
    taken.set(id, content)
    tokens.set(content, {
      id,
      content,
      pattern,
      special: flag('special') || (tokens.get(content)?.special ?? false),
      normalized,
      singleWord: flag('single_word'),
      stripsLeft: flag('lstrip'),
      stripsRight: flag('rstrip'),
    })
  }
  return [...tokens.values()]
}

/** Finds added tokens: the leftmost first, and of those the longest. */
export class AddedTokenFinder {
  readonly #trie = new Trie()
  readonly #tokens: readonly AddedToken[]
  /** Code units that a token starts with. */
  readonly #starts = new Set<number>()

  constructor(tokens: readonly AddedToken[]) {
    this.#tokens = tokens
    for (const [index, { pattern }] of tokens.entries()) {
      // Of two that are alike once normalized, the first counts.
      const node = this.#trie.walk(0, pattern)
      if (node < 0 || this.#trie.value(node) < 0) this.#trie.set(pattern, index)
      this.#starts.add(pattern.charCodeAt(0))
    }
  }

  /** Cuts the added tokens out of a piece. @param parseSpecial with false, special tokens stay in the text */
  split(piece: Piece, parseSpecial: boolean): Part[] {
    const { text, first } = piece
    if (this.#tokens.length === 0 || text === '') return [piece]
    const parts: Part[] = []
    let done = 0
    /** Up to where a token that strips to its right has taken white space. */
    let stripped = 0
    for (let at = 0; at < text.length; ) {
      const token = this.#longestAt(text, at)
      if (token === null) {
        at++
        continue
      }
      let start = at
      let end = at + token.pattern.length
      at = end
      if (token.special && !parseSpecial) continue
      if (token.singleWord && isWithinWord(text, start, end)) continue
      if (token.stripsLeft) start = Math.max(endWithoutSpaces(text.slice(done, start)) + done, done)
      if (token.stripsRight) {
        end = end <= stripped ? stripped : end + SPACES_AT_START.exec(text.slice(end))![0].length
        stripped = end
      }
      if (done < start) parts.push({ text: text.slice(done, start), first: first && done === 0 })
      // Of a token that stood in white space which the one before took, nothing may be left.
      if (start < end) parts.push(token.id)
      done = end
    }
    if (done < text.length) parts.push({ text: text.slice(done), first: first && done === 0 })
    return parts
  }

  #longestAt(text: string, at: number): AddedToken | null {
    if (!this.#starts.has(text.charCodeAt(at))) return null
    let found = -1
    let node = 0
    for (let i = at; i < text.length && node >= 0; i++) {
      node = this.#trie.child(node, text.charCodeAt(i))
      if (node >= 0 && this.#trie.value(node) >= 0) found = this.#trie.value(node)
    }
    return found < 0 ? null : this.#tokens[found]!
  }
}

function isWithinWord(text: string, start: number, end: number): boolean {
  const before = Array.from(text.slice(Math.max(0, start - 2), start)).at(-1) ?? ''
  const after = text.slice(end, end + 2)
  return STARTS_WITH_WORD.test(asUnicode16(before)) || STARTS_WITH_WORD.test(asUnicode16(after))
}
