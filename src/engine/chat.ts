import { InputError, ShoalError } from '../errors.js'
import type { ChatMessage, ChatSession, GenerateOptions, Generation } from './api.js'
import { refuseUnknownOptions } from './known-options.js'

/** What a chat asks of its model. */
export interface ChatParts {
  /** @param options of this answer alone */
  readonly start: (messages: readonly ChatMessage[], options: GenerateOptions) => Generation
  /** What the chat keeps in the KV cache is not needed any more. */
  readonly release: () => void
  readonly countTokens: (messages: readonly ChatMessage[], addGenerationPrompt: boolean) => number
  /** Throws where the chat template has no place for a system message. */
  readonly checkSystem: () => void
}

/** For callers without types. */
function checkText(text: unknown): void {
  if (typeof text !== 'string') throw new InputError('a message must be a text')
}

/** A conversation: its messages, and an answer to each. */
export function createChat({ start, release, countTokens, checkSystem }: ChatParts): ChatSession {
  let system: ChatMessage | null = null
  /** User and assistant in turn. */
  let turns: readonly ChatMessage[] = []
  let last: Promise<unknown> = Promise.resolve()
  let busy = false
  let disposed = false

  const conversation = (of: readonly ChatMessage[]): ChatMessage[] => (system === null ? [...of] : [system, ...of])

  function checkIdle(): void {
    if (disposed) throw new ShoalError('disposed', 'the chat was disposed')
    if (busy) throw new InputError('the answer before is still being written')
  }

  /** Answers a message behind `before`; where there is an answer, all three are the conversation. */
  function answer(before: readonly ChatMessage[], text: string, options: GenerateOptions): Generation {
    const asked: ChatMessage = { role: 'user', content: text }
    const generation = start(conversation([...before, asked]), options)
    busy = true
    const said = (content: string): void => {
      turns = [...before, asked, { role: 'assistant', content: content.trim() }]
    }
    // In one reaction, so that whoever awaits the result finds the chat ready for the next message.
    last = generation.result.then(
      ({ text }) => {
        said(text)
        busy = false
      },
      (error: unknown) => {
        const { tokens, text } = generation.partial()
        if (error instanceof ShoalError && error.code === 'aborted' && tokens.length > 0) said(text)
        busy = false
      },
    )
    return generation
  }

  return {
    get messages() {
      return conversation(turns)
    },
    send(text, options = {}) {
      refuseUnknownOptions('generate', options)
      checkIdle()
      checkText(text)
      return answer(turns, text, options)
    },
    retry(options = {}) {
      refuseUnknownOptions('generate', options)
      checkIdle()
      const asked = turns.at(-2)
      if (asked === undefined) throw new InputError('there is no answer to give anew')
      return answer(turns.slice(0, -2), asked.content, options)
    },
    undo() {
      checkIdle()
      const asked = turns.at(-2)
      turns = turns.slice(0, -2)
      return asked?.content ?? null
    },
    forget(count = turns.length / 2) {
      checkIdle()
      const before = turns.length
      turns = turns.slice(2 * count)
      return (before - turns.length) / 2
    },
    setSystem(text) {
      checkIdle()
      if (text !== null) {
        checkText(text)
        checkSystem()
      }
      system = text === null ? null : { role: 'system', content: text }
    },
    countTokens(next) {
      if (next !== undefined) {
        checkText(next)
        return countTokens(conversation([...turns, { role: 'user', content: next }]), true)
      }
      return turns.length === 0 ? 0 : countTokens(conversation(turns), false)
    },
    dispose() {
      disposed = true
      void last.then(release)
    },
  }
}
