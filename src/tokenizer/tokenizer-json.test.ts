import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { InputError } from '../errors.js'
import type { Tokenizer } from './tokenizer.js'
import { createJsonTokenizer } from './tokenizer-json.js'

const FIXTURES = 'test/fixtures/tokenizers'

interface Case {
  readonly base: string
  readonly added: unknown
  readonly model?: object
  readonly normalizer?: unknown
  readonly pre_tokenizer?: unknown
  readonly post_processor?: unknown
  readonly decoder?: unknown
}

interface Expected {
  /** Four base64 characters for each text. */
  readonly hashes: string
  /** Ids of the first texts; null where the library fails. */
  readonly ids: readonly (readonly number[] | null)[]
}

const strings = readFixture<string[]>('strings')
const bases = readFixture<Record<string, { model: object }>>('bases')
const cases = readFixture<Record<string, Case>>('cases')
const expected = readFixture<Record<string, Expected>>('expected')

function readFixture<T>(name: string): T {
  return JSON.parse(readFileSync(`${FIXTURES}/${name}.json`, 'utf8')) as T
}

function compose({ base, added, model, ...parts }: Case): string {
  const whole = bases[base]!
  return JSON.stringify({ ...whole, ...parts, model: { ...whole.model, ...model }, added_tokens: added })
}

/** All that the recording script compares, as one text. */
function results(tokenizer: Tokenizer, text: string): { summary: string; ids: number[] | null } {
  try {
    const ids = tokenizer.encode(text)
    const bare = tokenizer.encode(text, { addSpecialTokens: false })
    const literal = tokenizer.encode(text, { addSpecialTokens: false, parseSpecial: false })
    const texts = [false, true].map((skipSpecialTokens) => tokenizer.decode(ids, { skipSpecialTokens }))
    return { summary: [ids, bare, literal, ...texts].join('\n'), ids }
  } catch (error) {
    expect(error).toBeInstanceOf(InputError)
    return { summary: 'error', ids: null }
  }
}

function expectEqual(tokenizer: Tokenizer, { hashes, ids }: Expected): void {
  for (const [i, full] of ids.entries()) expect(results(tokenizer, strings[i]!).ids, strings[i]).toEqual(full)
  const differing = strings.filter((text, i) => {
    const hash = createHash('sha1').update(results(tokenizer, text).summary).digest().subarray(0, 3)
    return hash.toString('base64') !== hashes.slice(4 * i, 4 * i + 4)
  })
  expect(differing).toEqual([])
}

describe('encodes and decodes 1,000 texts as the Rust library does', () => {
  for (const [name, parts] of Object.entries(cases)) {
    it(name, () => {
      expectEqual(createJsonTokenizer('tokenizer.json', compose(parts)), expected[name]!)
    })
  }

  it('ripple-8m', () => {
    const text = readFileSync('pretrained/ripple-8m/tokenizer.json', 'utf8')
    expectEqual(createJsonTokenizer('tokenizer.json', text), expected['ripple-8m']!)
  })
})

describe('a tokenizer', () => {
  const vocab = JSON.parse('{"a":0,"b":1,"ab":2,"__proto__":3,"constructor":4,"▁c":5}') as object
  const tokenizer = createJsonTokenizer(
    'tokenizer.json',
    JSON.stringify({
      model: { type: 'BPE', vocab, merges: ['a b'], ignore_merges: true },
      added_tokens: [
        { id: 6, content: '<end>', special: true },
        { id: 70, content: '<far>', special: false },
      ],
    }),
  )

  it('spells its tokens as the vocabulary does', () => {
    expect([2, 3, 5, 6, 7, 70].map((id) => tokenizer.piece(id))).toEqual([
      'ab',
      '__proto__',
      '▁c',
      '<end>',
      '<far>',
      null,
    ])
    expect([0, 6, 7, 99].map((id) => tokenizer.isSpecial(id))).toEqual([false, true, false, false])
    expect(tokenizer.size).toBe(8)
  })

  it('knows tokens that are names of properties', () => {
    expect(tokenizer.encode('__proto__')).toEqual([3])
    expect(tokenizer.encode('constructor')).toEqual([4])
    expect(tokenizer.encode('toString')).toEqual([])
  })

  it('takes special tokens as text where it is told to, and other added tokens never', () => {
    expect(tokenizer.encode('a<end>b<far>')).toEqual([0, 6, 1, 7])
    // Characters without a token vanish, and what stood around them merges.
    expect(tokenizer.encode('a<end>b<far>', { parseSpecial: false })).toEqual([2, 7])
  })

  it('takes lone surrogates as U+FFFD', () => {
    const words = JSON.stringify({ model: { type: 'WordLevel', vocab: { '\ufffd': 0, u: 1 }, unk_token: 'u' } })
    expect(createJsonTokenizer('tokenizer.json', words).encode('\ud800')).toEqual([0])
  })

  it('says so where it has no token for a text', () => {
    const words = JSON.stringify({ model: { type: 'WordLevel', vocab: { a: 0 }, unk_token: 'u' } })
    expect(() => createJsonTokenizer('tokenizer.json', words).encode('b')).toThrow(InputError)
  })
})
