import { readFile } from 'node:fs/promises'
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import type { Tokenizer } from './tokenizer.js'
import { createJsonTokenizer } from './tokenizer-json.js'

const PATH = 'pretrained/ripple-8m/tokenizer.json'

let tokenizer: Tokenizer
beforeAll(async () => {
  tokenizer = createJsonTokenizer(PATH, await readFile(PATH, 'utf8'))
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

  it('decodes what follows other tokens, and tells special tokens', () => {
    const ids = tokenizer.encode('Once upon a time', { addSpecialTokens: false })
    expect(tokenizer.decode(ids.slice(1), { continues: true })).toBe(tokenizer.decode(ids.slice(1)))
    expect([0, 1, ids[0]!].map((id) => tokenizer.isSpecial(id))).toEqual([true, true, false])
    expect(tokenizer.piece(0)).toBe('<s>')
    expect(tokenizer.piece(99_999)).toBeNull()
  })
})

describe('refuses', () => {
  it('what is no tokenizer.json, in one line', () => {
    for (const text of ['', '[]', '{}', '{"model":{}}', '{"model":{"type":"BPE"}}', '{"model":null}']) {
      expect(() => createJsonTokenizer('a/tokenizer.json', text)).toThrow(/^a\/tokenizer\.json: [^\n]+$/)
    }
  })

  it('added tokens that are none', async () => {
    const json: Record<string, unknown> = JSON.parse(await readFile('pretrained/ripple-8m/tokenizer.json', 'utf8'))
    for (const added of [3, [3], [{ id: -1, content: 'x' }], [{ id: 1 }]]) {
      expect(() => createJsonTokenizer(PATH, JSON.stringify({ ...json, added_tokens: added }))).toThrow('added_tokens')
    }
    const without = createJsonTokenizer(
      PATH,
      JSON.stringify({ ...json, added_tokens: undefined, post_processor: null }),
    )
    expect(without.encode('a')).toHaveLength(1)
  })
})
