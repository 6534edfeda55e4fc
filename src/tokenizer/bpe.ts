import { InputError } from '../errors.js'
import { type Part, quote } from './fields.js'
import { MergeQueue, PLACES } from './merge-queue.js'
import type { Model } from './token-model.js'
import { byteTokens, KEPT_LENGTH, KEPT_PIECES, readVocabulary } from './vocabulary.js'

/** Byte pair encoding: of the pairs of neighbours that have a merge, the one of the lowest rank is merged first. */
export function readBytePairs(part: Part): Model {
  const vocabulary = readVocabulary(part)
  const { ids } = vocabulary
  const dropout = part.value('dropout') ?? null
  if (dropout !== null && dropout !== 0) part.unsupported('dropout')
  const unknownToken = part.optionalString('unk_token')
  const prefix = part.optionalString('continuing_subword_prefix') ?? ''
  const suffix = part.optionalString('end_of_word_suffix') ?? ''
  const fusesUnknown = part.boolean('fuse_unk', false)
  const fallsBackToBytes = part.boolean('byte_fallback', false)
  const ignoresMerges = part.boolean('ignore_merges', false)
  const merges = readMerges(part, ids, prefix)
  const bytes = new Map<string, number[] | null>()
  const known = new Map<string, readonly number[]>()

  function unknownId(): number {
    const id = ids.get(unknownToken!)
    if (id === undefined)
      throw new InputError(`${part.path}: the vocabulary lacks the unknown token ${quote(unknownToken!)}`)
    return id
  }

  function bytesOf(symbol: string): number[] | null {
    let found = bytes.get(symbol)
    if (found === undefined) {
      found = byteTokens(symbol, ids)
      if (bytes.size < KEPT_PIECES) bytes.set(symbol, found)
    }
    return found
  }

  /** The ids of the single characters. */
  function symbolsOf(piece: string): number[] {
    const symbols: number[] = []
    let pending: number | null = null
    for (let at = 0; at < piece.length; ) {
      const end = at + (piece.codePointAt(at)! > 0xffff ? 2 : 1)
      let symbol = piece.slice(at, end)
      if (at > 0) symbol = prefix + symbol
      if (end === piece.length) symbol += suffix
      at = end
      const id = ids.get(symbol)
      if (id !== undefined) {
        if (pending !== null) symbols.push(pending)
        pending = null
        symbols.push(id)
        continue
      }
      const fallback = fallsBackToBytes ? bytesOf(symbol) : null
      if (fallback !== null) {
        // An unknown token that waits to be fused comes after the bytes: the Rust library does so too.
        symbols.push(...fallback)
      } else if (unknownToken !== null) {
        if (pending !== null && !fusesUnknown) symbols.push(pending)
        pending = pending !== null && fusesUnknown ? pending : unknownId()
      }
    }
    if (pending !== null) symbols.push(pending)
    return symbols
  }

  return {
    vocabulary,
    encode(piece, result) {
      const whole = ignoresMerges ? ids.get(piece) : undefined
      if (whole !== undefined) {
        result.push(whole)
        return
      }
      const kept = known.get(piece)
      const encoded = kept ?? mergeAll(symbolsOf(piece), merges)
      for (const id of encoded) result.push(id)
      if (kept !== undefined || piece.length > KEPT_LENGTH) return
      if (known.size >= KEPT_PIECES) known.clear()
      known.set(piece, encoded)
    },
  }
}

/** Merges by pair; a pair of ids a and b has the key a × 2^22 + b where ids are small, else a string. */
interface Merges {
  rank(left: number, right: number): number
  /** The id that the merge of this rank makes. */
  readonly results: Int32Array
}

const PAIR = 2 ** 22

function readMerges(part: Part, ids: ReadonlyMap<string, number>, prefix: string): Merges {
  const list = part.list('merges')
  if (list.length >= 2 ** 22) part.fail('has more merges than 4 million')
  const lines = typeof list[0] === 'string' ? list.filter((line) => !String(line).startsWith('#version')) : list
  const results = new Int32Array(lines.length)
  const small = new Map<number, number>()
  const large = new Map<string, number>()
  const idOf = (token: string): number => {
    const id = ids.get(token)
    return id ?? part.fail(`a merge makes or needs ${quote(token)}, which is not in the vocabulary`)
  }
  for (const [rank, merge] of lines.entries()) {
    const [left, right] = pairOf(part, merge)
    results[rank] = idOf(left + right.slice(prefix.length))
    const a = idOf(left)
    const b = idOf(right)
    if (a < PAIR && b < PAIR) small.set(a * PAIR + b, rank)
    else large.set(`${a} ${b}`, rank)
  }
  return {
    results,
    rank: (a, b) => (a < PAIR && b < PAIR ? small.get(a * PAIR + b) : large.get(`${a} ${b}`)) ?? -1,
  }
}

/** `"a b"` in older files, `["a", "b"]` in newer ones. */
function pairOf(part: Part, merge: unknown): [string, string] {
  const parts: unknown[] = typeof merge === 'string' ? merge.split(' ', 3) : Array.isArray(merge) ? merge : []
  const [left, right] = parts
  if (parts.length === 2 && typeof left === 'string' && typeof right === 'string') return [left, right]
  return part.fail('a merge is not a pair of tokens')
}

function mergeAll(symbols: number[], merges: Merges): number[] {
  const length = symbols.length
  if (length < 2) return symbols
  if (length > PLACES) throw new InputError(`a text of ${length} characters without a break cannot be encoded`)
  const { results } = merges
  const queue = new MergeQueue()
  const previous = Int32Array.from({ length }, (_, i) => i - 1)
  const next = Int32Array.from({ length }, (_, i) => (i + 1 < length ? i + 1 : -1))
  const gone = new Uint8Array(length)
  const propose = (place: number, after: number): void => {
    const rank = merges.rank(symbols[place]!, symbols[after]!)
    if (rank >= 0) queue.push(rank, place)
  }
  for (let i = 0; i + 1 < length; i++) propose(i, i + 1)
  while (queue.size > 0) {
    const { rank, place } = queue.pop()
    const after = next[place]!
    if (gone[place] === 1 || after < 0) continue
    // The pair that was proposed may be another one by now.
    const current = merges.rank(symbols[place]!, symbols[after]!)
    if (current < 0 || results[current] !== results[rank]) continue
    symbols[place] = results[rank]!
    gone[after] = 1
    const following = next[after]!
    next[place] = following
    if (following >= 0) previous[following] = place
    const before = previous[place]!
    if (before >= 0) propose(before, place)
    if (following >= 0) propose(place, following)
  }
  return symbols.filter((_, i) => gone[i] === 0)
}
