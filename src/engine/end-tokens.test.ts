import { describe, expect, it } from 'vitest'
import type { Message, Tokenizer } from '../checkpoint/tokenizer.js'
import { InputError } from '../errors.js'
import { takesSystem } from './chat-template.js'
import { endTokens } from './end-tokens.js'

const SPECIAL = ['<s>', '</s>', '<|im_end|>', '<|user|>', '<eot>']

/** Special tokens have the ids 1000 and up, all else is its characters' codes. */
function tokenizerOf(render: ((messages: readonly Message[]) => string) | null): Tokenizer {
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
    hasChatTemplate: render !== null,
    encode,
    decode: (ids, { skipSpecialTokens = false } = {}) =>
      ids.map((id) => (id < 1000 ? String.fromCharCode(id) : skipSpecialTokens ? '' : SPECIAL[id - 1000])).join(''),
    renderChat: render ?? (() => ''),
  }
}

/** One text for each message. */
const each = (user: (text: string) => string, assistant: (text: string) => string) => (messages: readonly Message[]) =>
  messages.map(({ role, content }) => (role === 'assistant' ? assistant(content) : user(content))).join('')

const ends = (tokenizer: Tokenizer | null, stated: number[] = [], eos: string | null = null, vocabulary = 2000) =>
  [...endTokens({ stated, eos, tokenizer, vocabulary })].map((id) => SPECIAL[id - 1000] ?? id)

describe('the end that a chat template writes', () => {
  it.each<[string, (messages: readonly Message[]) => string, string[]]>([
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
    expect(ends(tokenizerOf(render))).toEqual(expected)
  })
})

describe('the tokens that end a text', () => {
  const chatml = tokenizerOf(
    each(
      (u) => `${u}<|im_end|>`,
      (a) => `${a}<|im_end|>`,
    ),
  )

  it('are those of all sources, once', () => {
    expect(ends(chatml, [7, 1001, 7], '<eot>')).toEqual([7, '</s>', '<eot>', '<|im_end|>'])
    expect(ends(tokenizerOf(null), [7], '</s>')).toEqual([7, '</s>'])
    expect(ends(null, [7], '</s>')).toEqual([7])
  })

  it('leave out a spelling that is no token, and ids beyond the vocabulary', () => {
    expect(ends(chatml, [], 'the end')).toEqual(['<|im_end|>'])
    expect(ends(chatml, [7, 4000], '<eot>', 1003)).toEqual([7, '<|im_end|>'])
  })
})

describe('a system message', () => {
  it('has a place where the template writes it', () => {
    expect(
      takesSystem(
        tokenizerOf(
          each(
            (u) => u,
            (a) => a,
          ),
        ),
      ),
    ).toBe(true)
    const silent = (messages: readonly Message[]) =>
      messages
        .filter(({ role }) => role !== 'system')
        .map(({ content }) => content)
        .join('')
    expect(takesSystem(tokenizerOf(silent))).toBe(false)
    const strict = (messages: readonly Message[]) => {
      if (messages[0]?.role === 'system') throw new InputError('System role not supported')
      return ''
    }
    expect(takesSystem(tokenizerOf(strict))).toBe(false)
    expect(takesSystem(tokenizerOf(null))).toBe(false)
  })
})
