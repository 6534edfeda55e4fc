import { FileError } from '../errors.js'
import { type JsonObject, parseJsonObject } from '../json.js'
import { type AddedToken, AddedTokenFinder, readAddedTokens, type Part as TextPart } from './added-tokens.js'
import { checkDecode, checkEncode } from './check-arguments.js'
import { readDecoder } from './decoder.js'
import { optionalPart, Part } from './fields.js'
import { readModel } from './model.js'
import { readNormalizer } from './normalizer.js'
import { readPostProcessor } from './post-processor.js'
import { readPreTokenizer } from './pre-tokenizer.js'
import type { Tokenizer } from './tokenizer.js'

/**
 * A tokenizer from the text of a tokenizer.json, the same as the Rust library `tokenizers` makes of it. Its
 * `truncation` and `padding` do not count: texts are encoded whole.
 * @param path the file that it came from, for errors
 * @throws FileError where it is not one; UnsupportedError for parts of it that are not supported
 */
export function createJsonTokenizer(path: string, text: string): Tokenizer {
  checkSize(path, text)
  return build(path, parseJsonObject(path, text, 'tokenizer'))
}

/** Refuses what would take seconds to parse: the largest published tokenizer has 0.3 million fields and 2 million values. */
function checkSize(path: string, text: string): void {
  let fields = 0
  let values = 0
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c === 0x3a) fields++
    else if (c === 0x2c) values++
  }
  if (fields > 1_500_000 || values > 4_000_000) {
    throw new FileError(
      path,
      'has more tokens or merges than any tokenizer: over 1.5 million fields or 4 million values',
    )
  }
}

function build(path: string, json: JsonObject): Tokenizer {
  if ((json.model ?? null) === null) throw new FileError(path, 'has no model')
  const model = readModel(new Part(path, 'model', json.model))
  const normalizer = readPart(path, json, 'normalizer', readNormalizer)
  const preTokenize = readPart(path, json, 'pre_tokenizer', readPreTokenizer)
  const postProcess = readPart(path, json, 'post_processor', readPostProcessor)
  const decoder = readPart(path, json, 'decoder', readDecoder)
  const added = readAddedTokens(path, json.added_tokens, model.vocabulary, normalizer)
  const addedById = new Map(added.map((token) => [token.id, token]))
  const specialPieces = new Set(added.filter((token) => token.special).map((token) => token.content))
  const rawFinder = new AddedTokenFinder(added.filter((token) => !token.normalized))
  const normalizedFinder = new AddedTokenFinder(added.filter((token) => token.normalized))

  /** Added tokens and normalized text between them. */
  function partsOf(text: string, parseSpecial: boolean): TextPart[] {
    return rawFinder.split({ text: text.toWellFormed(), first: true }, parseSpecial).flatMap((part) => {
      if (typeof part === 'number' || normalizer === null) {
        return typeof part === 'number' ? [part] : normalizedFinder.split(part, parseSpecial)
      }
      const first = part.first && !normalizer.losesStart?.(part.text)
      return normalizedFinder.split({ text: normalizer.normalize(part.text), first }, parseSpecial)
    })
  }

  function textOf(id: number, skipSpecialTokens: boolean): string | null {
    // The Rust library decodes to what a token is in normalized text.
    const piece = addedById.get(id)?.pattern ?? model.vocabulary.tokens.get(id) ?? null
    return piece !== null && skipSpecialTokens && specialPieces.has(piece) ? null : piece
  }

  function textOfAll(ids: readonly number[], skipSpecialTokens: boolean): string {
    const tokens = ids.map((id) => textOf(id, skipSpecialTokens)).filter((token) => token !== null)
    return decoder === null ? tokens.join(' ') : decoder(tokens).join('')
  }

  let word: { id: number; text: string } | null | undefined
  /** A token that others can follow: decoded, it stays what it is. */
  function someWord(): { id: number; text: string } | null {
    for (const id of model.vocabulary.tokens.keys()) {
      const text = textOfAll([id], false)
      if (/^[a-z]+$/.test(text) && textOfAll([id, id], false).startsWith(text)) return { id, text }
    }
    return null
  }

  return {
    size: sizeOf(model.vocabulary.tokens, added),
    endIds: [],
    encode(text, options = {}) {
      checkEncode(text, options)
      const { addSpecialTokens = true, parseSpecial = true } = options
      const ids: number[] = []
      for (const part of partsOf(text, parseSpecial)) {
        if (typeof part === 'number') ids.push(part)
        else if (part.text === '') continue
        else if (preTokenize === null) model.encode(part.text, ids)
        else for (const piece of preTokenize(part)) model.encode(piece.text, ids)
      }
      return postProcess === null ? ids : postProcess([ids], addSpecialTokens).flat()
    },
    decode(ids, options = {}) {
      checkDecode(ids, options)
      const { skipSpecialTokens = false, continues = false } = options
      if (!continues) return textOfAll(ids, skipSpecialTokens)
      if (word === undefined) word = someWord()
      if (word === null) return textOfAll(ids, skipSpecialTokens)
      return textOfAll([word.id, ...ids], skipSpecialTokens).slice(word.text.length)
    },
    piece: (id) => addedById.get(id)?.content ?? model.vocabulary.tokens.get(id) ?? null,
    isSpecial: (id) => addedById.get(id)?.special ?? false,
    dispose: () => undefined,
  }
}

function readPart<T>(path: string, json: JsonObject, key: string, read: (part: Part) => T): T | null {
  const part = optionalPart(path, json, key)
  return part === null ? null : read(part)
}

function sizeOf(tokens: ReadonlyMap<number, string>, added: readonly AddedToken[]): number {
  let largest = -1
  for (const id of tokens.keys()) if (id > largest) largest = id
  for (const { id } of added) if (id > largest) largest = id
  return largest + 1
}
