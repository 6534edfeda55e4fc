import { describe, expect, it } from 'vitest'
import { FileError, ShoalError, UnsupportedError } from '../errors.js'
import { createJsonTokenizer } from './tokenizer-json.js'

const VOCAB = { a: 0, b: 1, ab: 2 }

function bpe(model: object, parts: object = {}): string {
  return JSON.stringify({ model: { type: 'BPE', vocab: VOCAB, merges: [], ...model }, ...parts })
}

function split(pattern: string): string {
  const step = { type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false }
  return bpe({}, { pre_tokenizer: step })
}

function failure(json: string, text = 'a'): ShoalError {
  try {
    createJsonTokenizer('x/tokenizer.json', json).encode(text)
  } catch (error) {
    expect(error).toBeInstanceOf(ShoalError)
    const { message } = error as ShoalError
    expect(message).toMatch(/^x\/tokenizer\.json: [^\p{C}]+$/u)
    expect(message.length).toBeLessThanOrEqual(300)
    return error as ShoalError
  }
  throw new Error('was accepted')
}

describe('a tokenizer.json is refused', () => {
  it.each([
    ['an id that is negative', bpe({ vocab: { a: -1 } })],
    ['an id of 2^31', bpe({ vocab: { a: 2 ** 31 } })],
    ['an id that is no whole number', bpe({ vocab: { a: 0.5 } })],
    ['two tokens with one id', bpe({ vocab: { a: 0, b: 0 } })],
    ['a merge of unknown tokens', bpe({ merges: [['a', 'x']] })],
    ['a merge that makes an unknown token', bpe({ merges: [['b', 'a']] })],
    ['a merge that is no pair', bpe({ merges: ['a b', 'a'] })],
    ['a merge that is a number', bpe({ merges: [3] })],
    ['a token that does not print', bpe({ vocab: { [`\u001b[31m\u202e${'x'.repeat(1e5)}`]: -1 } })],
    [
      'an added token without flags that are true or false',
      bpe({}, { added_tokens: [{ id: 5, content: 'x', lstrip: 1 }] }),
    ],
    ['an added token of a million letters', bpe({}, { added_tokens: [{ id: 5, content: 'a'.repeat(1e6) }] })],
    ['a charsmap that is none', bpe({}, { normalizer: { type: 'Precompiled', precompiled_charsmap: 'AAAA' } })],
    ['an unknown id beyond the vocabulary', '{"model":{"type":"Unigram","unk_id":5,"vocab":[["a",0]]}}'],
    ['a model nested a million deep', `{"model":${'['.repeat(1e6)}${']'.repeat(1e6)}}`],
    ['three million merges', `{"model":{"type":"BPE","vocab":{},"merges":[${'["a","a"],'.repeat(3e6)}[]]}}`],
    ['two million fields', `{"model":{${'"a":0,'.repeat(2e6)}"b":0}}`],
  ])('with %s', (_, json) => {
    expect(failure(json)).toBeInstanceOf(FileError)
  })

  it('with steps within steps without end', () => {
    let normalizer: object = { type: 'NFC' }
    for (let i = 0; i < 100; i++) normalizer = { type: 'Sequence', normalizers: [normalizer] }
    expect(failure(bpe({}, { normalizer })).message).toContain('too deep')
  })

  it('with replacements that fill the memory', () => {
    const grow = { type: 'Replace', pattern: { String: 'a' }, content: 'a'.repeat(1000) }
    const normalizer = { type: 'Sequence', normalizers: Array.from({ length: 20 }, () => grow) }
    expect(failure(bpe({}, { normalizer }), 'aa').message).toContain('makes a text of over')
  })

  it.each([
    ['UnicodeScripts', bpe({}, { pre_tokenizer: { type: 'UnicodeScripts' } })],
    ['Odd', bpe({}, { normalizer: { type: 'Odd' } })],
    ['Odd', bpe({}, { decoder: { type: 'Odd' } })],
    ['Odd', bpe({}, { post_processor: { type: 'Odd' } })],
    ['Odd', bpe({ type: 'Odd' })],
    ['dropout', bpe({ dropout: 0.1 })],
    ['\\\\1', split('(a)\\1')],
    ['\\\\G', split('\\Ga')],
    ['(?~', split('(?~a)')],
    ['(?x)', split('(?x) a')],
    ['\\\\p{Odd}', split('\\p{Odd}')],
    ['fold together', split('(?i)strasse')],
  ])('by name where %s is not supported', (name, json) => {
    const error = failure(json)
    expect(error).toBeInstanceOf(UnsupportedError)
    expect(error.message).toContain(name)
  })
})

describe('a pattern that would run for centuries is stopped', () => {
  it.each([
    ['(a+)+$', 'a'.repeat(40)],
    ['(a+)+$', 'a'.repeat(1_000_000)],
    ['(a|a)*$', 'a'.repeat(60)],
    ['a*a*a*a*a*c', 'a'.repeat(100_000)],
    [`${'(|a)'.repeat(60)}c`, 'a'.repeat(60)],
  ])('%s', { timeout: 20_000 }, (pattern, text) => {
    const error = failure(split(pattern), `${text}b`)
    expect(error).toBeInstanceOf(FileError)
    expect(error.message).toContain('takes too long')
  })

  it('and one that backtracks deeper than the stack', () => {
    expect(failure(split('(?:[a-z]|b)+'), 'a'.repeat(20_000_000)).message).toContain('takes too long')
  })
})
