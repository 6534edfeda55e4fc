import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { createJsonTokenizer } from './tokenizer-json.js'

const LENGTH = 1_000_000
const LIMIT = { timeout: 20_000 }

const bases = JSON.parse(readFileSync('test/fixtures/tokenizers/bases.json', 'utf8')) as Record<string, object>
const space = { type: 'Replace', pattern: { String: ' ' }, content: '▁' }

const TOKENIZERS: Record<string, object> = {
  'byte-level BPE': { ...bases.bytes, pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: true } },
  'BPE without a pre-tokenizer': { ...bases.sentencepiece, normalizer: space },
  Unigram: { ...bases.unigram },
  WordPiece: {
    ...bases.wordpiece,
    model: { ...(bases.wordpiece as { model: object }).model, max_input_chars_per_word: LENGTH },
  },
}

/** Letters in an order without a period. */
function letters(): string {
  let state = 1
  const codes = Array.from({ length: LENGTH }, () => {
    state = (state * 48271) % 2147483647
    return 97 + (state % 26)
  })
  return Buffer.from(codes).toString()
}

describe.each(Object.entries(TOKENIZERS))('%s', (_, json) => {
  const tokenizer = createJsonTokenizer('tokenizer.json', JSON.stringify(json))

  it('encodes and decodes a million letters without a space', LIMIT, () => {
    const text = letters()
    const ids = tokenizer.encode(text)
    expect(tokenizer.decode(ids).length).toBeGreaterThan(0)
  })

  it('encodes a million times the same letter, and a million spaces', LIMIT, () => {
    expect(tokenizer.encode('e'.repeat(LENGTH)).length).toBeGreaterThan(0)
    expect(tokenizer.encode(' '.repeat(LENGTH)).length).toBeLessThanOrEqual(LENGTH + 1)
  })
})
