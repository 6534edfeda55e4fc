import { InputError } from '../errors.js'
import type { Part } from './fields.js'
import type { Model } from './token-model.js'
import { Trie } from './trie.js'
import { readVocabulary, searchable } from './vocabulary.js'

/** The longest token that a word starts with, then the longest that continues it, and so on; else it is unknown. */
export function readWordPiece(part: Part): Model {
  const vocabulary = readVocabulary(part)
  const prefix = part.string('continuing_subword_prefix')
  const longest = part.count('max_input_chars_per_word')
  const unknown = unknownOf(part, vocabulary.ids)
  const trie = new Trie()
  for (const [token, id] of vocabulary.ids) trie.set(searchable(part, token), id)
  const continuing = trie.walk(0, prefix)

  function split(word: string): number[] | null {
    const pieces: number[] = []
    for (let start = 0; start < word.length; ) {
      let end = -1
      let found = -1
      let node = start === 0 ? 0 : continuing
      for (let i = start; i < word.length && node >= 0; ) {
        node = trie.child(node, word.charCodeAt(i++))
        if (node < 0 || trie.value(node) < 0) continue
        found = trie.value(node)
        end = i
      }
      if (found < 0) return null
      pieces.push(found)
      start = end
    }
    return pieces
  }

  return {
    vocabulary,
    encode(word, result) {
      const isLong = word.length > longest && Array.from(word).length > longest
      const pieces = isLong ? null : split(word)
      if (pieces === null) result.push(unknown())
      else for (const id of pieces) result.push(id)
    },
  }
}

/** Each piece is a token as it stands. */
export function readWordLevel(part: Part): Model {
  const vocabulary = readVocabulary(part)
  const unknown = unknownOf(part, vocabulary.ids)
  return {
    vocabulary,
    encode(word, result) {
      result.push(vocabulary.ids.get(word) ?? unknown())
    },
  }
}

function unknownOf(part: Part, ids: ReadonlyMap<string, number>): () => number {
  const id = ids.get(part.string('unk_token'))
  return () => {
    if (id === undefined) throw new InputError(`${part.path}: the tokenizer has no token for some of the text`)
    return id
  }
}
