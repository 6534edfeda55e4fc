import { FileError } from '../errors.js'
import { isJsonObject, type JsonObject } from '../json.js'
import { isId, quote } from './fields.js'

/** An entry of `added_tokens` of a tokenizer.json, but for its id. */
export interface NamedToken {
  readonly content: string
  readonly single_word: boolean
  readonly lstrip: boolean
  readonly rstrip: boolean
  readonly normalized: boolean
  readonly special: boolean
}

/** The small files beside a tokenizer.json, or instead of it; an absent one is null. */
export interface TokenizerFiles {
  /** The folder, for errors. */
  readonly path: string
  readonly tokenizerConfig: JsonObject | null
  readonly specialTokensMap: JsonObject | null
  readonly addedTokens: JsonObject | null
  /** `model_type` of config.json. */
  readonly modelType: string | null
}

/** Fields that name one special token each, in the order in which transformers adds them. */
const FIELDS = ['bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token'] as const

export type TokenField = (typeof FIELDS)[number]

/**
 * What a field such as `bos_token` or `additional_special_tokens` holds. special_tokens_map.json is the older place: it
 * counts where tokenizer_config.json lists its added tokens only for what that lacks, else before it, as in transformers.
 */
function fieldOf({ tokenizerConfig, specialTokensMap }: TokenizerFiles, field: string): unknown {
  const newer = tokenizerConfig?.[field] ?? null
  const older = specialTokensMap?.[field] ?? null
  return isJsonObject(tokenizerConfig?.added_tokens_decoder) ? (newer ?? older) : (older ?? newer)
}

/** The token that a field names, or null. Errors: FileError. */
export function namedToken(files: TokenizerFiles, field: TokenField): NamedToken | null {
  const value = fieldOf(files, field)
  return value === null ? null : parseToken(files.path, field, value, true)
}

/** `additional_special_tokens`, or `extra_special_tokens` as newer files say. */
export function additionalTokens(files: TokenizerFiles): NamedToken[] {
  return ['additional_special_tokens', 'extra_special_tokens'].flatMap((field) => {
    const value = fieldOf(files, field)
    const list: readonly unknown[] = Array.isArray(value) ? value : isJsonObject(value) ? Object.values(value) : []
    return list.map((token) => parseToken(files.path, field, token, true))
  })
}

/**
 * All tokens that the files name, in the order in which transformers adds them: those with ids by their ids first.
 * @param defaults tokens of fields that no file names
 */
export function allNamedTokens(
  files: TokenizerFiles,
  defaults: Partial<Record<TokenField, string>> = {},
): NamedToken[] {
  const special = [
    ...FIELDS.flatMap((field) => namedToken(files, field) ?? plainSpecial(defaults[field])),
    ...additionalTokens(files),
  ]
  const tokens = new Map<string, NamedToken>()
  for (const token of [...tokensWithIds(files, special), ...special]) {
    if (token.content !== '' && !tokens.has(token.content)) tokens.set(token.content, token)
  }
  return [...tokens.values()]
}

function plainSpecial(content: string | undefined): NamedToken[] {
  return content === undefined ? [] : [makeToken(content, true)]
}

function tokensWithIds(files: TokenizerFiles, special: readonly NamedToken[]): NamedToken[] {
  const { path, tokenizerConfig, addedTokens } = files
  const decoder = tokenizerConfig?.added_tokens_decoder
  const byId = new Map<number, NamedToken>()
  const put = (id: unknown, token: NamedToken): void => {
    if (!isId(id))
      throw new FileError(path, `added token ${quote(token.content)} has the impossible id ${quote(String(id))}`)
    byId.set(id, token)
  }
  if (isJsonObject(decoder)) {
    for (const [id, token] of Object.entries(decoder)) {
      put(Number(id), parseToken(path, 'added_tokens_decoder', token, false))
    }
  } else {
    const names = new Set(special.map((token) => token.content))
    for (const [content, id] of Object.entries(addedTokens ?? {})) put(id, makeToken(content, names.has(content)))
  }
  return [...byId].sort(([a], [b]) => a - b).map(([, token]) => token)
}

/** A string, or an object with `content` and how it is matched. */
function parseToken(path: string, field: string, value: unknown, special: boolean): NamedToken {
  if (typeof value === 'string') return makeToken(value, special)
  if (!isJsonObject(value) || typeof value.content !== 'string') {
    throw new FileError(path, `${field} must be a string, or an object with content`)
  }
  const flag = (key: string, absent: boolean): boolean => {
    const own = value[key] ?? absent
    if (typeof own === 'boolean') return own
    throw new FileError(path, `${field}: ${key} is not true or false`)
  }
  const isSpecial = special || flag('special', false)
  return {
    content: value.content,
    single_word: flag('single_word', false),
    lstrip: flag('lstrip', false),
    rstrip: flag('rstrip', false),
    normalized: flag('normalized', !isSpecial),
    special: isSpecial,
  }
}

function makeToken(content: string, special: boolean): NamedToken {
  return { content, single_word: false, lstrip: false, rstrip: false, normalized: !special, special }
}
