import type { SpecialTokens } from '../checkpoint/special-tokens.js'
import { tokenizerOfGguf } from '../convert/load-tokenizer.js'
import type { Package } from '../convert/package.js'
import { FileError, InputError, type ShoalError, UnsupportedError } from '../errors.js'
import { createChatTemplate } from '../template/index.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'
import { Conversation } from './conversation.js'
import { type EndSources, endTokens } from './end-tokens.js'

/** What a model knows of text: the words for its tokens, and the form of its conversations. */
export class ModelText {
  private knownEnds: ReadonlySet<number> | null = null

  constructor(
    private readonly name: string,
    readonly tokenizer: Tokenizer | null,
    /** Why there is no tokenizer, where the file has a vocabulary that cannot be used. */
    readonly tokenizerError: ShoalError | null,
    /** Null without a chat template, or with one that is not valid. */
    readonly conversation: Conversation | null,
    private readonly templateError: ShoalError | null,
    readonly warnings: readonly string[],
    private readonly stated: Pick<EndSources, 'stated' | 'eos'>,
  ) {}

  /** The tokens that end a text. Asks the chat template, so not before it is needed. */
  ends(vocabulary: number): ReadonlySet<number> {
    const { tokenizer, conversation, stated } = this
    this.knownEnds ??= endTokens({ ...stated, tokenizer, conversation, vocabulary })
    return this.knownEnds
  }

  requireTokenizer(): Tokenizer {
    if (this.tokenizer !== null) return this.tokenizer
    throw this.tokenizerError ?? new InputError(`${this.name} has no tokenizer files: give token ids (--tokens)`)
  }

  requireConversation(): Conversation {
    this.requireTokenizer()
    if (this.conversation !== null) return this.conversation
    throw (
      this.templateError ??
      new UnsupportedError(
        `${this.name} has no chat template: it continues texts, and a chat needs a model made for it`,
      )
    )
  }
}

/** Token ids work without text, so a vocabulary or a template that cannot be used is an error only where it is needed. */
export async function openModelText(p: Package): Promise<ModelText> {
  const { metadata } = p.gguf
  const ends = { stated: p.endIds, eos: p.specialTokens.eos }
  try {
    const { tokenizer, warnings } = await tokenizerOfGguf(metadata, p.tokenizerPath)
    const { conversation, error } = tokenizer === null ? NO_CONVERSATION : openConversation(p, tokenizer)
    return new ModelText(p.name, tokenizer, null, conversation, error, warnings, ends)
  } catch (error) {
    if (!(error instanceof FileError || error instanceof UnsupportedError)) throw error
    return new ModelText(p.name, null, error, null, null, [], ends)
  }
}

interface OpenedConversation {
  readonly conversation: Conversation | null
  readonly error: ShoalError | null
}

const NO_CONVERSATION: OpenedConversation = { conversation: null, error: null }

function openConversation(p: Package, tokenizer: Tokenizer): OpenedConversation {
  const { chatTemplate, chatTemplatePath: path, specialTokens } = p
  if (chatTemplate === null) return NO_CONVERSATION
  try {
    const template = createChatTemplate(chatTemplate, { path, specialTokens: namedTokens(specialTokens) })
    return { conversation: new Conversation(tokenizer, template), error: null }
  } catch (error) {
    if (!(error instanceof InputError)) throw error
    return { conversation: null, error }
  }
}

/** Special tokens by the names that templates know them by; those that there are. */
function namedTokens(tokens: SpecialTokens): Record<string, string | readonly string[]> {
  const named = {
    bos_token: tokens.bos,
    eos_token: tokens.eos,
    unk_token: tokens.unknown,
    pad_token: tokens.padding,
    sep_token: tokens.separator,
    cls_token: tokens.classification,
    mask_token: tokens.mask,
    additional_special_tokens: tokens.additional.length === 0 ? null : tokens.additional,
  }
  return Object.fromEntries(Object.entries(named).flatMap(([name, text]) => (text === null ? [] : [[name, text]])))
}
