import type { GgufValue } from '../checkpoint/gguf-value.js'
import type { HuggingFaceFolder } from '../checkpoint/huggingface.js'
import { FileError } from '../errors.js'
import { isJsonObject, type JsonObject, parseJsonObject } from '../json.js'
import { flatten, llamaCppPreTokenizer } from './pre-tokenizer.js'

export type MetadataEntry = readonly [string, GgufValue]

/** `tokenizer.ggml.token_type` in llama.cpp's numbering. */
const NORMAL = 1
const UNKNOWN = 2
const CONTROL = 3
const USER_DEFINED = 4
const UNUSED = 5
const BYTE = 6

/**
 * The tokenizer's part of a package: llama.cpp's own keys where it has an equal tokenizer, and always tokenizer.json
 * and the chat template as they are, under the standard keys for them.
 * `inLlamaCpp` is false where llama.cpp has no equal.
 * @param vocabulary V of the model; ids beyond the tokenizer are filled with unused tokens
 */
export function tokenizerMetadata(
  checkpoint: HuggingFaceFolder,
  vocabulary: number,
): { entries: MetadataEntry[]; inLlamaCpp: boolean; warnings: string[] } {
  const { tokenizerJson, tokenizerPath: path, chatTemplate } = checkpoint
  const chat: MetadataEntry[] = chatTemplate === null ? [] : [['tokenizer.chat_template', text(chatTemplate)]]
  if (tokenizerJson === null) {
    const entries = [...placeholderEntries(checkpoint, vocabulary), ...chat]
    return { entries, inLlamaCpp: true, warnings: ['no tokenizer.json: the model works with token ids only'] }
  }
  const ggml = ggmlTokenizer(path, parseJsonObject(path, tokenizerJson, 'tokenizer'), checkpoint, vocabulary)
  return {
    entries: [...(ggml ?? []), ['tokenizer.huggingface.json', text(tokenizerJson)], ...chat],
    inLlamaCpp: ggml !== null,
    warnings: ggml === null ? ['llama.cpp has no equal of this tokenizer and will not run the converted file'] : [],
  }
}

/**
 * Tokens without text, for a checkpoint that has no tokenizer: llama.cpp refuses a file without a vocabulary, and runs
 * token ids with this one.
 */
function placeholderEntries({ endIds }: HuggingFaceFolder, vocabulary: number): MetadataEntry[] {
  const tokens = Array.from({ length: vocabulary }, (_, id) => `[PAD${id}]`)
  const types = Array.from({ length: vocabulary }, () => UNUSED)
  const [eos] = endIds
  if (eos !== undefined && eos < vocabulary) types[eos] = CONTROL
  return [
    ...bytePairEntries('gpt-2', { tokens, types }, []),
    ...(eos !== undefined && eos < vocabulary
      ? [['tokenizer.ggml.eos_token_id', { type: 'uint32', value: eos }] as const]
      : []),
    ['tokenizer.ggml.add_bos_token', { type: 'bool', value: false }],
  ]
}

function bytePairEntries(pre: string, { tokens, types }: Vocabulary, merges: readonly string[]): MetadataEntry[] {
  return [
    ['tokenizer.ggml.model', text('gpt2')],
    ['tokenizer.ggml.pre', text(pre)],
    ['tokenizer.ggml.tokens', { type: 'array', of: 'string', value: tokens }],
    ['tokenizer.ggml.token_type', { type: 'array', of: 'int32', value: types }],
    ['tokenizer.ggml.merges', { type: 'array', of: 'string', value: merges }],
  ]
}

function text(value: string): GgufValue {
  return { type: 'string', value }
}

interface Vocabulary {
  readonly tokens: string[]
  readonly types: number[]
}

/** llama.cpp's tokenizer keys, or null where it has no tokenizer that does the same. */
function ggmlTokenizer(
  path: string,
  json: JsonObject,
  checkpoint: HuggingFaceFolder,
  vocabulary: number,
): MetadataEntry[] | null {
  const { model } = json
  if (!isJsonObject(model) || model.type !== 'BPE') return null
  const tokens = readVocabulary(path, json, model, vocabulary)
  if (isSentencePiece(json, model)) {
    return [...sentencePieceEntries(path, json, model, tokens), ...specialEntries(json, checkpoint, tokens)]
  }
  const pre = llamaCppPreTokenizer(json)
  if (pre === null) return null
  const merges = readMerges(path, model).map(([left, right]) => `${left} ${right}`)
  return [...bytePairEntries(pre, tokens, merges), ...specialEntries(json, checkpoint, tokens)]
}

/** A SentencePiece BPE in Hugging Face's clothes: `▁` for spaces, and bytes as tokens of their own. */
function isSentencePiece(json: JsonObject, model: JsonObject): boolean {
  if (model.byte_fallback !== true) return false
  const replacesSpace = flatten(json.normalizer).some((step) => step.type === 'Replace' && step.content === '▁')
  return replacesSpace || flatten(json.pre_tokenizer).some((step) => step.type === 'Metaspace')
}

function sentencePieceEntries(
  path: string,
  json: JsonObject,
  model: JsonObject,
  vocabulary: Vocabulary,
): MetadataEntry[] {
  const { tokens, types } = vocabulary
  for (const [id, token] of tokens.entries()) {
    if (/^<0x[0-9A-F]{2}>$/.test(token)) types[id] = BYTE
    else if (token === model.unk_token) types[id] = UNKNOWN
  }
  // llama.cpp merges the pair whose result scores best; the order of merges is what SentencePiece's scores were.
  const ranks = new Map<string, number>()
  for (const [rank, [left, right]] of readMerges(path, model).entries()) {
    if (!ranks.has(left + right)) ranks.set(left + right, rank)
  }
  const scores = tokens.map((token, id) => (types[id] === NORMAL ? -(ranks.get(token) ?? ranks.size) : 0))
  const prepends =
    flatten(json.normalizer).some((step) => step.type === 'Prepend') ||
    flatten(json.pre_tokenizer).some((step) => step.type === 'Metaspace' && step.prepend_scheme !== 'never')
  return [
    ['tokenizer.ggml.model', text('llama')],
    ['tokenizer.ggml.pre', text('default')],
    ['tokenizer.ggml.tokens', { type: 'array', of: 'string', value: tokens }],
    ['tokenizer.ggml.scores', { type: 'array', of: 'float32', value: scores }],
    ['tokenizer.ggml.token_type', { type: 'array', of: 'int32', value: types }],
    ['tokenizer.ggml.add_space_prefix', { type: 'bool', value: prepends }],
  ]
}

/** Every id's token and type. An id that two tokens claim is an error. */
function readVocabulary(path: string, json: JsonObject, model: JsonObject, size: number): Vocabulary {
  const tokens: (string | undefined)[] = Array.from({ length: size })
  const types = Array.from({ length: size }, () => UNUSED)
  const place = (token: string, id: unknown, type: number): void => {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0) {
      throw new FileError(path, `token ${JSON.stringify(token)} has the impossible id ${String(id)}`)
    }
    // Some tokenizers have more tokens than their model; those can never be used.
    if (id >= size) return
    if (tokens[id] !== undefined && tokens[id] !== token) {
      throw new FileError(path, `tokens ${JSON.stringify(tokens[id])} and ${JSON.stringify(token)} both have id ${id}`)
    }
    tokens[id] = token
    types[id] = type
  }
  if (!isJsonObject(model.vocab)) throw new FileError(path, 'its model has no vocab')
  for (const [token, id] of Object.entries(model.vocab)) place(token, id, NORMAL)
  const added = Array.isArray(json.added_tokens) ? (json.added_tokens as unknown[]) : []
  for (const token of added) {
    if (!isJsonObject(token) || typeof token.content !== 'string')
      throw new FileError(path, 'added_tokens is malformed')
    place(token.content, token.id, token.special === true ? CONTROL : USER_DEFINED)
  }
  return { tokens: tokens.map((token, id) => token ?? `[PAD${id}]`), types }
}

/** Merges come as `"a b"` in older files and as `["a", "b"]` in newer ones. */
function readMerges(path: string, model: JsonObject): [string, string][] {
  const merges = Array.isArray(model.merges) ? (model.merges as unknown[]) : []
  return merges.map((merge) => {
    const parts: unknown[] = typeof merge === 'string' ? merge.split(' ') : Array.isArray(merge) ? merge : []
    const [left, right] = parts
    if (parts.length !== 2 || typeof left !== 'string' || typeof right !== 'string') {
      throw new FileError(path, 'a merge of its model is not a pair of tokens')
    }
    return [left, right]
  })
}

/** First and last token, and whether text gets them: what the post-processor does. */
function specialEntries(json: JsonObject, checkpoint: HuggingFaceFolder, { tokens }: Vocabulary): MetadataEntry[] {
  const entries: MetadataEntry[] = []
  const { specialTokens, endIds } = checkpoint
  const added = addedByTemplate(json)
  const idOf = (token: string | null): number => (token === null ? -1 : tokens.indexOf(token))
  const put = (key: string, id: number): void => {
    if (id >= 0 && id < tokens.length) entries.push([`tokenizer.ggml.${key}`, { type: 'uint32', value: id }])
  }
  put('bos_token_id', idOf(added.first ?? specialTokens.bos))
  const eos = idOf(specialTokens.eos)
  put('eos_token_id', endIds.length === 0 || endIds.includes(eos) ? eos : endIds[0]!)
  put('unknown_token_id', idOf(specialTokens.unknown))
  put('padding_token_id', idOf(specialTokens.padding))
  entries.push(['tokenizer.ggml.add_bos_token', { type: 'bool', value: added.first !== null }])
  entries.push(['tokenizer.ggml.add_eos_token', { type: 'bool', value: added.last !== null }])
  return entries
}

/** The special tokens that a TemplateProcessing step puts before and after a single text. */
function addedByTemplate(json: JsonObject): { first: string | null; last: string | null } {
  const template = flatten(json.post_processor).find((step) => step.type === 'TemplateProcessing')
  const single = Array.isArray(template?.single) ? (template.single as unknown[]) : []
  return { first: specialTokenOf(single[0]), last: single.length > 1 ? specialTokenOf(single.at(-1)) : null }
}

function specialTokenOf(piece: unknown): string | null {
  const token = isJsonObject(piece) ? piece.SpecialToken : null
  return isJsonObject(token) && typeof token.id === 'string' ? token.id : null
}
