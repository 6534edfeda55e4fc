import { Template } from '@huggingface/jinja'
import { InputError } from '../errors.js'
import type { Tokenizer as TextTokenizer } from '../tokenizer/tokenizer.js'
import { createJsonTokenizer } from '../tokenizer/tokenizer-json.js'

/** Text of the tokens that templates and text go by; null where the checkpoint names none. */
export interface SpecialTokens {
  readonly bos: string | null
  readonly eos: string | null
  readonly unknown: string | null
  readonly padding: string | null
  readonly separator: string | null
  readonly classification: string | null
  readonly mask: string | null
  /** Further ones, without a role that the files tell. */
  readonly additional: readonly string[]
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

/** Text to token ids and back, and conversations to text. */
export interface Tokenizer extends TextTokenizer {
  readonly hasChatTemplate: boolean
  /**
   * The text of a conversation. It holds its special tokens: encode it with `addSpecialTokens: false`.
   * @param options.addGenerationPrompt end where the answer begins; default true
   */
  renderChat(messages: readonly Message[], options?: { addGenerationPrompt?: boolean }): string
}

/**
 * A tokenizer from the text of a tokenizer.json.
 * @throws FileError where it is not one; UnsupportedError where it has parts that are not supported
 */
export function createTokenizer(tokenizerJson: string, options: TokenizerOptions = {}): Tokenizer {
  const path = options.path ?? 'tokenizer.json'
  const { chatTemplate = null, specialTokens = {} } = options
  let template: Template | undefined
  return {
    ...createJsonTokenizer(path, tokenizerJson),
    hasChatTemplate: chatTemplate !== null,
    renderChat(messages, { addGenerationPrompt = true } = {}) {
      if (chatTemplate === null) throw new InputError(`${path}: the model has no chat template`)
      try {
        template ??= new Template(chatTemplate)
        return template.render({
          messages,
          add_generation_prompt: addGenerationPrompt,
          bos_token: specialTokens.bos ?? '',
          eos_token: specialTokens.eos ?? '',
          unk_token: specialTokens.unknown ?? '',
          pad_token: specialTokens.padding ?? '',
        })
      } catch (error) {
        throw new InputError(`${path}: chat template: ${firstLine(error)}`, 'input_invalid', { cause: error })
      }
    },
  }
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0] ?? ''
}
