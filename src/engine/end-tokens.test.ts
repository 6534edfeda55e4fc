import { describe, expect, it } from 'vitest'
import { InputError } from '../errors.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'
import type { ChatMessage } from './api.js'
import { Conversation } from './conversation.js'
import { endTokens } from './end-tokens.js'

const SPECIAL = ['<s>', '</s>', '<|im_end|>', '<|user|>', '<eot>']

/** Special tokens have the ids 1000 and up, all else is its characters' codes. */
type Render = (messages: readonly ChatMessage[]) => string

function createTokenizer(): Tokenizer {
  const encode = (text: string): number[] => {
    const marks = SPECIAL.map((mark) => mark.replaceAll('|', '\\|')).join('|')
    return text
      .split(new RegExp(`(${marks})`))
      .flatMap((part) =>
        SPECIAL.includes(part) ? [1000 + SPECIAL.indexOf(part)] : Array.from(part, (c) => c.charCodeAt(0)),
      )
  }
  return {
    size: 2000,
    endIds: [],
    encode,
    decode: (ids, { skipSpecialTokens = false } = {}) =>
      ids.map((id) => (id < 1000 ? String.fromCharCode(id) : skipSpecialTokens ? '' : SPECIAL[id - 1000])).join(''),
    piece: () => null,
    isSpecial: (id) => id >= 1000,
    dispose: () => undefined,
  }
}

/** One text for each message. */
const each =
  (user: (text: string) => string, assistant: (text: string) => string) => (messages: readonly ChatMessage[]) =>
    messages.map(({ role, content }) => (role === 'assistant' ? assistant(content) : user(content))).join('')

const tokenizer = createTokenizer()

function conversationOf(render: Render): Conversation {
  return new Conversation(tokenizer, {
    render: ({ messages }) => render(messages as unknown as readonly ChatMessage[]),
  })
}

const ends = (render: Render | null, stated: number[] = [], eos: string | null = null, vocabulary = 2000) => {
  const conversation = render === null ? null : conversationOf(render)
  return [...endTokens({ stated, eos, tokenizer, conversation, vocabulary })].map((id) => SPECIAL[id - 1000] ?? id)
}

describe('the end that a chat template writes', () => {
  it.each<[string, (messages: readonly ChatMessage[]) => string, string[]]>([
    [
      'the mark behind an answer',
      each(
        (u) => `U${u}<|im_end|>\n`,
        (a) => `A${a}<|im_end|>\n`,
      ),
      ['<|im_end|>'],
    ],
    [
      'the mark behind a space',
      each(
        (u) => `<s>[INST] ${u} [/INST]`,
        (a) => ` ${a} </s>`,
      ),
      ['</s>'],
    ],
    [
      'the start of the next message',
      each(
        (u) => `<|user|>\n${u}`,
        (a) => `\n${a}\n`,
      ),
      ['<|user|>'],
    ],
    [
      'nothing where ordinary text follows',
      each(
        (u) => `Q: ${u}\nA:`,
        (a) => ` ${a}\n\n`,
      ),
      [],
    ],
    [
      'nothing where the answer is left out',
      each(
        (u) => u,
        () => '<eot>',
      ),
      [],
    ],
    [
      'nothing where the conversation is refused',
      () => {
        throw new InputError('no')
      },
      [],
    ],
  ])('is %s', (_, render, expected) => {
    expect(ends(render)).toEqual(expected)
  })
})

describe('the tokens that end a text', () => {
  const chatml = each(
    (u) => `${u}<|im_end|>`,
    (a) => `${a}<|im_end|>`,
  )

  it('are those of all sources, once', () => {
    expect(ends(chatml, [7, 1001, 7], '<eot>')).toEqual([7, '</s>', '<eot>', '<|im_end|>'])
    expect(ends(null, [7], '</s>')).toEqual([7, '</s>'])
    const nothing = { stated: [7], eos: '</s>', tokenizer: null, conversation: null, vocabulary: 2000 }
    expect([...endTokens(nothing)]).toEqual([7])
    const own = { ...tokenizer, endIds: [1004] }
    expect([...endTokens({ ...nothing, tokenizer: own })]).toEqual([7, 1001, 1004])
  })

  it('leave out a spelling that is no token, and ids beyond the vocabulary', () => {
    expect(ends(chatml, [], 'the end')).toEqual(['<|im_end|>'])
    expect(ends(chatml, [7, 4000], '<eot>', 1003)).toEqual([7, '<|im_end|>'])
  })
})

describe('a system message', () => {
  it('has a place where the template writes it', () => {
    const all = each(
      (u) => u,
      (a) => a,
    )
    expect(conversationOf(all).takesSystem).toBe(true)
    const silent = (messages: readonly ChatMessage[]) =>
      messages
        .filter(({ role }) => role !== 'system')
        .map(({ content }) => content)
        .join('')
    expect(conversationOf(silent).takesSystem).toBe(false)
    const strict = (messages: readonly ChatMessage[]) => {
      if (messages[0]?.role === 'system') throw new InputError('System role not supported')
      return ''
    }
    expect(conversationOf(strict).takesSystem).toBe(false)
  })
})
