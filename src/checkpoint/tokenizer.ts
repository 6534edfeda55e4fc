import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers'
import { FileError, InputError } from '../errors.js'
import { type ChatTemplate, createChatTemplate } from '../template/index.js'
import { isJsonObject, parseJsonObject } from './json.js'

/** Text of the tokens that templates and text go by; null where the checkpoint names none. */
export interface SpecialTokens {
  readonly bos: string | null
  readonly eos: string | null
  readonly unknown: string | null
  readonly padding: string | null
}

export interface TokenizerOptions {
  /** The file that tokenizer.json came from, for errors. */
  readonly path?: string
  /** A Jinja template, as in tokenizer_config.json. */
  readonly chatTemplate?: string | null
  readonly specialTokens?: Partial<SpecialTokens>
}

export interface Message {
  readonly role: string
  readonly content: string
}

/** Text to token ids and back. */
export interface Tokenizer {
  /** The largest id + 1. */
  readonly size: number
  readonly hasChatTemplate: boolean
  /** @param options.addSpecialTokens what the post-processor adds, BOS for one; default true */
  encode(text: string, options?: { addSpecialTokens?: boolean }): number[]
  /** The text of exactly these tokens: no spaces are tidied up. Ids that the tokenizer lacks have no text. */
  decode(ids: readonly number[], options?: { skipSpecialTokens?: boolean }): string
  /**
   * The text of a conversation. It holds its special tokens: encode it with `addSpecialTokens: false`.
   * @param options.addGenerationPrompt end where the answer begins; default true
   */
  renderChat(messages: readonly Message[], options?: { addGenerationPrompt?: boolean }): string
}

/**
 * A tokenizer from the text of a tokenizer.json.
 * @throws FileError where it is not one
 */
export function createTokenizer(tokenizerJson: string, options: TokenizerOptions = {}): Tokenizer {
  const path = options.path ?? 'tokenizer.json'
  const { tokenizer, size } = parseTokenizer(path, tokenizerJson, options.specialTokens?.eos)
  const known = tokenizer.get_added_tokens_decoder()
  const isToken = (id: number): boolean => known.has(id) || tokenizer.id_to_token(id) !== undefined
  const { chatTemplate = null, specialTokens = {} } = options
  let template: ChatTemplate | undefined

  return {
    size,
    hasChatTemplate: chatTemplate !== null,
    encode(text, { addSpecialTokens = true } = {}) {
      if (text === '' && !addSpecialTokens) return []
      const ids: (number | undefined)[] = tokenizer.encode(text, { add_special_tokens: addSpecialTokens }).ids
      if (ids.includes(undefined)) throw new InputError(`${path}: the tokenizer has no token for some of the text`)
      return ids as number[]
    },
    decode(ids, { skipSpecialTokens = false } = {}) {
      const tokens = ids.filter(isToken)
      // The package refuses an empty list.
      if (tokens.length === 0) return ''
      return tokenizer.decode(tokens, { skip_special_tokens: skipSpecialTokens, clean_up_tokenization_spaces: false })
    },
    renderChat(messages, { addGenerationPrompt = true } = {}) {
      if (chatTemplate === null) throw new InputError(`${path}: the model has no chat template`)
      template ??= createChatTemplate(chatTemplate, { path, specialTokens: templateTokens(specialTokens) })
      return template.render({ messages: messages.map((message) => ({ ...message })), addGenerationPrompt })
    },
  }
}

/** Special tokens by the names that templates know them by; those that there are. */
function templateTokens({ bos, eos, unknown, padding }: Partial<SpecialTokens>): Record<string, string> {
  const named = { bos_token: bos, eos_token: eos, unk_token: unknown, pad_token: padding }
  return Object.fromEntries(Object.entries(named).flatMap(([name, text]) => (text == null ? [] : [[name, text]])))
}

function parseTokenizer(
  path: string,
  text: string,
  eos?: string | null,
): { tokenizer: HuggingFaceTokenizer; size: number } {
  const json = parseJsonObject(path, text, 'tokenizer')
  if (!isJsonObject(json.model)) throw new FileError(path, 'has no model')
  const added = json.added_tokens ?? []
  if (!Array.isArray(added) || !added.every(isAddedToken))
    throw new FileError(path, 'added_tokens is not a list of tokens')
  let tokenizer: HuggingFaceTokenizer
  try {
    tokenizer = new HuggingFaceTokenizer({ ...json, added_tokens: added }, { eos_token: eos ?? undefined })
  } catch (error) {
    throw new FileError(path, `is no tokenizer: ${firstLine(error)}`, 'file_invalid', { cause: error })
  }
  let largest = -1
  for (const id of tokenizer.get_vocab(true).values()) {
    if (!Number.isInteger(id) || id < 0 || id >= 2 ** 31) throw new FileError(path, `has the impossible token id ${id}`)
    if (id > largest) largest = id
  }
  return { tokenizer, size: largest + 1 }
}

function isAddedToken(value: unknown): boolean {
  return (
    isJsonObject(value) && typeof value.content === 'string' && Number.isInteger(value.id) && (value.id as number) >= 0
  )
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0] ?? ''
}
