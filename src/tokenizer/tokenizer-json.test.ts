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
