import { FileError } from '../errors.js'
import { isJsonObject, type JsonObject, parseJsonObject } from '../json.js'
import { isId, quote } from './fields.js'
import { allNamedTokens, type NamedToken, namedToken, type TokenField, type TokenizerFiles } from './named-tokens.js'
import { classDefaults, type Surrounding, surroundingOf, tokenizerClass } from './tokenizer-class.js'

/**
 * A tokenizer.json together with what the files beside it say: special tokens that it lacks are added, and classes that
 * make their own post-processor get it. The text as it is where nothing changes. Errors: FileError.
 */
export function completeTokenizer(path: string, text: string, files: TokenizerFiles): string {
  const surrounding = surroundingOf(files)
  const named = allNamedTokens(files)
  const [beforeModel = ''] = text.split('"model"', 1)
  if (surrounding === null && named.every(({ content }) => beforeModel.includes(JSON.stringify(content)))) return text
  const json = parseJsonObject(path, text, 'tokenizer')
  const added: readonly unknown[] = Array.isArray(json.added_tokens) ? json.added_tokens : []
  const known = new Set(added.map((token) => (isJsonObject(token) ? token.content : null)))
  const missing = named.filter(({ content }) => !known.has(content))
  if (surrounding === null && missing.length === 0) return text
  const withTokens = { ...json, added_tokens: withIds(path, json, [...added, ...missing], added.length) }
  if (surrounding === null) return JSON.stringify(withTokens)
  return JSON.stringify({ ...withTokens, post_processor: postProcessor(withTokens, files, surrounding) })
}

/**
 * The tokenizer.json that transformers builds from vocab.json and merges.txt, by the tokenizer's class.
 * Errors: FileError; UnsupportedError for other classes.
 */
export function buildTokenizer(files: TokenizerFiles, vocab: JsonObject, merges: string): string {
  const { path } = files
  const { normalizer, preTokenizer, defaults, framesText } = tokenizerClass(files)
  const json = {
    version: '1.0',
    truncation: null,
    padding: null,
    normalizer,
    pre_tokenizer: preTokenizer(files.tokenizerConfig?.add_prefix_space === true),
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: { type: 'BPE', vocab, merges: readMerges(path, merges) },
  }
  const withTokens = { ...json, added_tokens: withIds(path, json, allNamedTokens(files, defaults), 0) }
  const surrounding: Surrounding =
    framesText === true
      ? { before: 'cls_token', after: 'sep_token' }
      : {
          before: files.tokenizerConfig?.add_bos_token === true ? 'bos_token' : null,
          after: files.tokenizerConfig?.add_eos_token === true ? 'eos_token' : null,
        }
  return JSON.stringify({ ...withTokens, post_processor: postProcessor(withTokens, files, surrounding) })
}

function readMerges(path: string, text: string): [string, string][] {
  const lines = text.split(/\r?\n/).filter((line) => line !== '' && !line.startsWith('#version'))
  return lines.map((line) => {
    const [left, right, ...rest] = line.split(' ')
    if (left && right && rest.length === 0) return [left, right]
    throw new FileError(path, `merges.txt: ${quote(line)} is not a pair of tokens`)
  })
}

/** Gives the entries from `start` on their ids: those of the vocabulary, or the next ones. */
function withIds(path: string, json: JsonObject, tokens: readonly unknown[], start: number): unknown[] {
  const vocab = isJsonObject(json.model) ? json.model.vocab : null
  const size = Array.isArray(vocab) ? vocab.length : isJsonObject(vocab) ? Object.keys(vocab).length : 0
  const ids = new Map<string, number>()
  let next = size
  const idOf = (content: string): number => {
    const known = ids.get(content) ?? vocabularyId(vocab, content)
    if (known !== null && !isId(known)) throw new FileError(path, `token ${quote(content)} has an impossible id`)
    const id = known ?? next++
    ids.set(content, id)
    return id
  }
  return tokens.map((token, i) => {
    if (!isJsonObject(token) || typeof token.content !== 'string') return token
    const id = idOf(token.content)
    return i < start ? token : { id, ...(token as unknown as NamedToken) }
  })
}

function vocabularyId(vocab: unknown, content: string): unknown {
  if (Array.isArray(vocab)) {
    const index = vocab.findLastIndex((entry) => Array.isArray(entry) && entry[0] === content)
    return index < 0 ? null : index
  }
  return isJsonObject(vocab) && Object.hasOwn(vocab, content) ? vocab[content] : null
}

function postProcessor(json: JsonObject, files: TokenizerFiles, { before, after }: Surrounding): JsonObject {
  const sequence = (id: string, type: number): JsonObject => ({ Sequence: { id, type_id: type } })
  const special = Object.create(null) as Record<string, JsonObject>
  const piece = (field: TokenField | null): JsonObject[] => {
    const content = field === null ? null : (namedToken(files, field)?.content ?? classDefaults(files)[field] ?? null)
    if (content === null) return []
    const id = (json.added_tokens as JsonObject[]).find((token) => token.content === content)?.id
    const ids = id ?? vocabularyId(isJsonObject(json.model) ? json.model.vocab : null, content)
    if (ids === null) throw new FileError(files.path, `the tokenizer lacks ${quote(content)}`)
    special[content] = { id: content, ids: [ids], tokens: [content] }
    return [{ SpecialToken: { id: content, type_id: 0 } }]
  }
  const single = [...piece(before), sequence('A', 0), ...piece(after)]
  return { type: 'TemplateProcessing', single, pair: [...single, sequence('B', 1)], special_tokens: special }
}
