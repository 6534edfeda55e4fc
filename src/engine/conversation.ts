import { type ChatInput, type ChatMessage, type ChatTemplate, renderLiteral } from '../template/index.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'
import { tokenIds } from './special-text.js'

export interface EncodeChatOptions extends Omit<ChatInput, 'messages'> {
  /** Special tokens that a message spells stay text. Default false: they become themselves. */
  readonly literalContent?: boolean
}

/** Stands where a message's text would: no template changes it, and no tokenizer has it as a token. */
const SENTINEL = 'sentinel7q'

/** Conversations in a model's own chat template. */
export class Conversation {
  private knownEnd: number | null | undefined

  constructor(
    private readonly tokenizer: Tokenizer,
    private readonly template: ChatTemplate,
  ) {}

  /** The text of a conversation, its special tokens spelled. */
  render(messages: readonly ChatMessage[], options: Omit<ChatInput, 'messages'> = {}): string {
    return this.template.render({ ...options, messages })
  }

  /**
   * Its tokens; templates write BOS themselves.
   * @throws InputError under `literalContent` where the template does not put contents into the text as they are
   */
  encode(messages: readonly ChatMessage[], { literalContent = false, ...input }: EncodeChatOptions = {}): number[] {
    if (literalContent) return this.encodeLiterally({ ...input, messages })
    return this.tokenizer.encode(this.render(messages, input), { addSpecialTokens: false })
  }

  /**
   * The token that ends an answer: the special token that the template writes behind an assistant's text, white space
   * aside, be it an end mark or the start of the user's next message. Null where there is none.
   */
  get endOfTurn(): number | null {
    if (this.knownEnd === undefined) this.knownEnd = this.findEnd()
    return this.knownEnd
  }

  /** Whether the template has a place for a system message: some leave it out, others refuse it. */
  get takesSystem(): boolean {
    const messages = [
      { role: 'system', content: SENTINEL },
      { role: 'user', content: 'a' },
    ]
    return this.tryRender(messages)?.includes(SENTINEL) === true
  }

  /** The template's own special tokens become themselves, and the text between them is encoded without any. */
  private encodeLiterally(input: ChatInput): number[] {
    const { tokenizer } = this
    const ids: number[] = []
    let text = ''
    const flush = (): void => {
      for (const id of tokenizer.encode(text, { addSpecialTokens: false, parseSpecial: false })) ids.push(id)
      text = ''
    }
    for (const piece of renderLiteral(this.template, input)) {
      let rest = piece.text
      const specials = piece.literal
        ? []
        : tokenizer.encode(rest, { addSpecialTokens: false }).filter((id) => tokenizer.isSpecial(id))
      for (const id of specials) {
        const spelled = tokenizer.decode([id])
        const at = rest.indexOf(spelled)
        if (at < 0) continue
        text += rest.slice(0, at)
        flush()
        ids.push(id)
        rest = rest.slice(at + spelled.length)
      }
      text += rest
    }
    flush()
    return ids
  }

  private findEnd(): number | null {
    const rendered = this.tryRender([
      { role: 'user', content: 'a' },
      { role: 'assistant', content: SENTINEL },
      { role: 'user', content: 'b' },
    ])
    const at = rendered?.lastIndexOf(SENTINEL) ?? -1
    if (rendered === null || at < 0) return null
    const [id] = tokenIds(this.tokenizer, rendered.slice(at + SENTINEL.length).trimStart())
    return id !== undefined && this.tokenizer.isSpecial(id) ? id : null
  }

  /** Templates may refuse a conversation: one that cannot run at all says so when it is asked for an answer. */
  private tryRender(messages: readonly ChatMessage[]): string | null {
    try {
      return this.render(messages)
    } catch {
      return null
    }
  }
}
