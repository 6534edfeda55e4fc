import { InputError } from '../errors.js'
import { isId, type Part, quote } from './fields.js'
import type { Model } from './token-model.js'
import { Trie } from './trie.js'
import { byteTokens, KEPT_LENGTH, KEPT_PIECES, searchable } from './vocabulary.js'

/** How much worse than the worst token an unknown character scores. */
const UNKNOWN_PENALTY = 10

/** Tokens with log probabilities: a piece is cut where the sum of them is largest. */
export function readUnigram(part: Part): Model {
  const { ids, tokens, scores } = readScores(part)
  const unknown = part.value('unk_id') ?? null
  if (unknown !== null && (!isId(unknown) || unknown >= scores.length)) part.fail('unk_id is not in the vocabulary')
  const fallsBackToBytes = part.boolean('byte_fallback', false)
  const trie = new Trie()
  for (const [token, id] of ids) trie.set(searchable(part, token), id)
  const unknownScore =
    scores.reduce((least, score) => Math.min(least, score), Number.POSITIVE_INFINITY) - UNKNOWN_PENALTY

  function unknownId(): number {
    if (unknown === null) throw new InputError(`${part.path}: the tokenizer has no token for some of the text`)
    return unknown as number
  }

  /** For each place: the best score up to it, where the token that ends there starts, and whether it is unknown. */
  let best = new Float64Array(256)
  let starts = new Int32Array(256)
  let isUnknown = new Uint8Array(256)
  const kept = new Map<string, readonly number[]>()

  function search(piece: string): void {
    if (piece.length >= best.length) {
      best = new Float64Array(piece.length + 1)
      starts = new Int32Array(piece.length + 1)
      isUnknown = new Uint8Array(piece.length + 1)
    }
    starts.fill(-1, 0, piece.length + 1)
    best[0] = 0
    isUnknown[0] = 0
    const offer = (from: number, to: number, score: number, asUnknown: boolean): void => {
      if (starts[to] !== -1 && !(score > best[to]!)) return
      if (asUnknown) unknownId()
      best[to] = score
      starts[to] = from
      isUnknown[to] = asUnknown ? 1 : 0
    }
    for (let from = 0; from < piece.length; ) {
      const step = piece.codePointAt(from)! > 0xffff ? 2 : 1
      const reached = best[from]!
      let single = false
      let node = 0
      for (let to = from; to < piece.length; ) {
        node = trie.child(node, piece.charCodeAt(to++))
        if (node < 0) break
        const id = trie.value(node)
        if (id < 0) continue
        offer(from, to, scores[id]! + reached, id === unknown)
        if (to === from + step) single = true
      }
      if (!single) {
        offer(from, from + step, unknownScore + reached, true)
      }
      from += step
    }
  }

  function encode(piece: string): number[] {
    search(piece)
    const pieces: string[] = []
    for (let end = piece.length; end > 0; ) {
      let start = starts[end]!
      // Unknown characters in a row are one.
      while (isUnknown[end] === 1 && start > 0 && isUnknown[start] === 1) start = starts[start]!
      pieces.push(piece.slice(start, end))
      end = start
    }
    const result: number[] = []
    for (const text of pieces.reverse()) push(text, result)
    return result
  }

  function push(text: string, result: number[]): void {
    const id = ids.get(text)
    const bytes = id === undefined && fallsBackToBytes ? byteTokens(text, ids) : null
    if (bytes === null) result.push(id ?? unknownId())
    else for (const byte of bytes) result.push(byte)
  }

  return {
    vocabulary: { ids, tokens },
    encode(piece, result) {
      const known = kept.get(piece)
      const encoded = known ?? encode(piece)
      for (const id of encoded) result.push(id)
      if (known !== undefined || piece.length > KEPT_LENGTH) return
      if (kept.size >= KEPT_PIECES) kept.clear()
      kept.set(piece, encoded)
    },
  }
}

function readScores(part: Part): { ids: Map<string, number>; tokens: Map<number, string>; scores: number[] } {
  const ids = new Map<string, number>()
  const tokens = new Map<number, string>()
  const scores: number[] = []
  for (const [id, entry] of part.list('vocab').entries()) {
    const [token, score] = Array.isArray(entry) && entry.length === 2 ? (entry as unknown[]) : []
    if (typeof token !== 'string' || typeof score !== 'number')
      return part.fail('vocab is not a list of [token, score]')
    if (Number.isNaN(score)) return part.fail(`the score of ${quote(token)} is not a number`)
    ids.set(token, id)
    tokens.set(id, token)
    scores.push(score)
  }
  return { ids, tokens, scores }
}
