import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { FileError, UnsupportedError } from '../errors.js'
import type { JsonObject } from '../json.js'
import type { TokenizerFiles } from './named-tokens.js'
import { buildTokenizer, completeTokenizer } from './tokenizer-files.js'
import { createJsonTokenizer } from './tokenizer-json.js'

interface Case {
  readonly model: string
  readonly config?: JsonObject
  readonly map?: JsonObject
  readonly added?: JsonObject
  readonly vocab?: readonly string[]
  readonly tokenizer?: JsonObject
  readonly ids: readonly number[][]
}

interface Base extends JsonObject {
  readonly model: { readonly vocab: Record<string, number>; readonly merges: [string, string][] }
}

const FIXTURES = 'test/fixtures/tokenizers'
const bytes = (JSON.parse(readFileSync(`${FIXTURES}/bases.json`, 'utf8')) as Record<string, Base>).bytes!
const { texts, cases } = JSON.parse(readFileSync(`${FIXTURES}/classes.json`, 'utf8')) as {
  texts: string[]
  cases: Case[]
}

function filesOf({ model, config, map, added }: Partial<Case>): TokenizerFiles {
  return {
    path: 'folder',
    modelType: model ?? null,
    tokenizerConfig: config ?? null,
    specialTokensMap: map ?? null,
    addedTokens: added ?? null,
  }
}

function tokenizerJson(entry: Case): string {
  const vocab = { ...bytes.model.vocab }
  for (const token of entry.vocab ?? []) vocab[token] = Object.keys(vocab).length
  const { merges } = bytes.model
  if (entry.tokenizer === undefined) {
    const lines = merges.map(([left, right]) => `${left} ${right}\n`)
    return buildTokenizer(filesOf(entry), vocab, `#version: 0.2\n${lines.join('')}`)
  }
  const json = { ...bytes, model: { ...bytes.model, vocab }, ...entry.tokenizer }
  return completeTokenizer('tokenizer.json', JSON.stringify(json), filesOf(entry))
}

describe('a folder gets the ids that transformers gives it', () => {
  for (const entry of cases) {
    const { model, config, map, tokenizer } = entry
    const post = tokenizer === undefined ? 'vocab.json' : tokenizer.post_processor === null ? 'without' : 'with'
    it(`${model}, ${post}: ${JSON.stringify(config ?? map ?? null).slice(0, 110)}`, () => {
      const made = createJsonTokenizer('tokenizer.json', tokenizerJson(entry))
      for (const [i, ids] of entry.ids.entries()) expect(made.encode(texts[i]!), texts[i]).toEqual(ids)
    })
  }
})

describe('a tokenizer.json', () => {
  it('stays as it is where the files beside it name nothing new', () => {
    const text = readFileSync('pretrained/ripple-8m/tokenizer.json', 'utf8')
    const config = { bos_token: '<s>', eos_token: { content: '</s>' }, add_bos_token: false }
    expect(completeTokenizer('tokenizer.json', text, filesOf({ model: 'llama', config }))).toBe(text)
  })
})

describe('refuses', () => {
  it('classes whose vocab.json it does not know', () => {
    for (const files of [filesOf({ config: { tokenizer_class: 'OddTokenizer' } }), filesOf({ model: 'odd' })]) {
      expect(() => buildTokenizer(files, {}, '')).toThrow(UnsupportedError)
      expect(() => buildTokenizer(files, {}, '')).toThrow('odd'.replace('odd', files.modelType ?? 'OddTokenizer'))
    }
  })

  it('malformed files', () => {
    const gpt2 = { model: 'gpt2' }
    expect(() => buildTokenizer(filesOf(gpt2), {}, 'a b c')).toThrow(FileError)
    expect(() => buildTokenizer(filesOf({ ...gpt2, config: { bos_token: 3 } }), {}, '')).toThrow('bos_token')
    expect(() => buildTokenizer(filesOf({ ...gpt2, added: { '<x>': -1 } }), {}, '')).toThrow('impossible id')
    expect(() => buildTokenizer(filesOf(gpt2), { '<|endoftext|>': 'x' }, '')).toThrow('impossible id')
  })
})
