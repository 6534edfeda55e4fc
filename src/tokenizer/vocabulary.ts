import { isJsonObject } from '../json.js'
import { isId, LONGEST_TOKEN, type Part, quote } from './fields.js'

/** How many pieces a model keeps the ids of, and how long such a piece may be. */
export const KEPT_PIECES = 20_000
export const KEPT_LENGTH = 64

/** The model's tokens. */
export interface Vocabulary {
  readonly ids: ReadonlyMap<string, number>
  readonly tokens: ReadonlyMap<number, string>
}

/** `vocab` of a model as an object from token to id. Errors: FileError. */
export function readVocabulary(part: Part): Vocabulary {
  const vocab = part.value('vocab')
  if (!isJsonObject(vocab)) return part.fail('has no vocab')
  const ids = new Map<string, number>()
  const tokens = new Map<number, string>()
  for (const token of Object.keys(vocab)) {
    const id = vocab[token]
    if (!isId(id)) return part.fail(`token ${quote(token)} has the impossible id ${quote(String(id))}`)
    const other = tokens.get(id)
    if (other !== undefined) return part.fail(`tokens ${quote(other)} and ${quote(token)} both have id ${id}`)
    ids.set(token, id)
    tokens.set(id, token)
  }
  return { ids, tokens }
}

/** The token, if it is not too long to search texts for. Errors: FileError. */
export function searchable(part: Part, token: string): string {
  return token.length > LONGEST_TOKEN ? part.fail(`token ${quote(token)} is too long`) : token
}

const encoder = new TextEncoder()

/** The ids of the tokens `<0x..>` for the bytes of a text, or null where one is missing. */
export function byteTokens(text: string, ids: ReadonlyMap<string, number>): number[] | null {
  const found: number[] = []
  for (const byte of encoder.encode(text)) {
    const id = ids.get(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`)
    if (id === undefined) return null
    found.push(id)
  }
  return found
}
