import { readFile } from 'node:fs/promises'
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { FileError, InputError } from '../errors.js'
import { openHuggingFace } from './huggingface.js'
import { createTokenizer, type Tokenizer } from './tokenizer.js'

let tokenizer: Tokenizer
beforeAll(async () => {
  const { tokenizerJson, chatTemplate, specialTokens } = await openHuggingFace('pretrained/ripple-8m')
  tokenizer = createTokenizer(tokenizerJson!, { chatTemplate, specialTokens })
})

describe("ripple-8m's tokenizer", () => {
  it('adds what the post-processor adds, and nothing where it is told not to', () => {
    const ids = tokenizer.encode('Once upon a time')
    expect(ids[0]).toBe(0)
    expect(tokenizer.encode('Once upon a time', { addSpecialTokens: false })).toEqual(ids.slice(1))
    expect(tokenizer.encode('')).toEqual([0])
    expect(tokenizer.encode('', { addSpecialTokens: false })).toEqual([])
    expect(tokenizer.size).toBe(4096)
  })

  it('gives back any text', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.lorem()), (text) => {
        const specials = /<\/?s>/.test(text)
        fc.pre(!specials)
        expect(tokenizer.decode(tokenizer.encode(text), { skipSpecialTokens: true })).toBe(text)
      }),
    )
  })

  it('keeps spaces before punctuation as they are', () => {
    const text = 'He said , " I do n\'t . " '
    expect(tokenizer.decode(tokenizer.encode(text, { addSpecialTokens: false }))).toBe(text)
  })

  it('decodes nothing, special tokens and unknown ids', () => {
    expect(tokenizer.decode([])).toBe('')
    expect(tokenizer.decode([0, 1])).toBe('<s></s>')
    expect(tokenizer.decode([0, 1], { skipSpecialTokens: true })).toBe('')
    expect(tokenizer.decode([99_999])).toBe('')
    expect(tokenizer.decode([...tokenizer.encode('one'), 99_999], { skipSpecialTokens: true })).toBe('one')
  })

  it('renders a conversation that encodes with one BOS', () => {
    const messages = [
      { role: 'user', content: 'hello' },
      { role: 'assistant', content: 'hi' },
      { role: 'user', content: 'bye' },
    ]
    const text = tokenizer.renderChat(messages)
    expect(text).toBe('<s>Q: hello\nA: hi\n\nQ: bye\nA:')
    const ids = tokenizer.encode(text, { addSpecialTokens: false })
    expect(ids.filter((id) => id === 0)).toEqual([0])
    expect(ids[0]).toBe(0)
  })
})

describe('refuses', () => {
  it('what is no tokenizer.json, in one line', () => {
    for (const text of ['', '[]', '{}', '{"model":{}}', '{"model":{"type":"BPE"}}', '{"model":null}']) {
      expect(() => createTokenizer(text, { path: 'a/tokenizer.json' })).toThrow(FileError)
      expect(() => createTokenizer(text, { path: 'a/tokenizer.json' })).toThrow(/^a\/tokenizer\.json: [^\n]+$/)
    }
  })

  it('added tokens that are none', async () => {
    const json: Record<string, unknown> = JSON.parse(await readFile('pretrained/ripple-8m/tokenizer.json', 'utf8'))
    for (const added of [3, [3], [{ id: -1, content: 'x' }], [{ id: 1 }]]) {
      expect(() => createTokenizer(JSON.stringify({ ...json, added_tokens: added }))).toThrow('added_tokens')
    }
    const without = createTokenizer(JSON.stringify({ ...json, added_tokens: undefined, post_processor: null }))
    expect(without.encode('a')).toHaveLength(1)
  })

  it('a chat without a template, and a template that fails', async () => {
    const json = await readFile('pretrained/ripple-8m/tokenizer.json', 'utf8')
    const plain = createTokenizer(json)
    expect(plain.hasChatTemplate).toBe(false)
    expect(() => plain.renderChat([])).toThrow(InputError)
    for (const chatTemplate of ['{% if %}', '{{ raise_exception("roles must take turns") }}']) {
      const broken = createTokenizer(json, { chatTemplate })
      expect(() => broken.renderChat([{ role: 'user', content: '' }])).toThrow(InputError)
    }
    const turns = createTokenizer(json, { chatTemplate: '{{ raise_exception("roles must take turns") }}' })
    expect(() => turns.renderChat([])).toThrow('roles must take turns')
  })
})
