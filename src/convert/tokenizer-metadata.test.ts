import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { ConfigReader } from '../checkpoint/config-reader.js'
import { GgufMetadata } from '../checkpoint/gguf-metadata.js'
import { type HuggingFaceFolder, openHuggingFace } from '../checkpoint/huggingface.js'
import { FileError } from '../errors.js'
import { llamaCppPreTokenizer } from './pre-tokenizer.js'
import { tokenizerMetadata } from './tokenizer-metadata.js'

function folderWith(tokenizer: unknown, rest: Partial<HuggingFaceFolder> = {}): HuggingFaceFolder {
  return {
    folder: 'a-model',
    name: 'a-model',
    config: new ConfigReader('a-model/config.json', {}),
    tokenizerJson: tokenizer === null ? null : JSON.stringify(tokenizer),
    tokenizerPath: 'a-model/tokenizer.json',
    chatTemplate: null,
    chatTemplatePath: 'a-model/tokenizer_config.json',
    specialTokens: {
      bos: '<s>',
      eos: '</s>',
      unknown: '<unk>',
      padding: null,
      separator: null,
      classification: null,
      mask: null,
      additional: [],
    },
    endIds: [2],
    sampling: {},
    settings: {},
    ...rest,
  }
}

function metadataOf(checkpoint: HuggingFaceFolder, vocabulary: number): { metadata: GgufMetadata; warnings: string[] } {
  const { entries, warnings } = tokenizerMetadata(checkpoint, vocabulary)
  return { metadata: new GgufMetadata('x', entries), warnings }
}

const special = (id: number, content: string) => ({ id, content, special: true })
const bosFirst = {
  type: 'TemplateProcessing',
  single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
}

describe('a byte-level BPE tokenizer', () => {
  it("of ripple-8m gets llama.cpp's keys", async () => {
    const checkpoint = await openHuggingFace('pretrained/ripple-8m')
    const { metadata, warnings } = metadataOf(checkpoint, 4099)
    expect(warnings).toEqual([])
    expect(metadata.string('tokenizer.ggml.model')).toBe('gpt2')
    expect(metadata.string('tokenizer.ggml.pre')).toBe('gpt-2')
    const tokens = metadata.strings('tokenizer.ggml.tokens')
    expect(tokens).toHaveLength(4099)
    expect(tokens.slice(0, 2)).toEqual(['<s>', '</s>'])
    expect(tokens.slice(4095)).toEqual([tokens[4095], '[PAD4096]', '[PAD4097]', '[PAD4098]'])
    const types = metadata.values.get('tokenizer.ggml.token_type')!.value as number[]
    expect(types.slice(0, 3)).toEqual([3, 3, 1])
    expect(types.slice(4096)).toEqual([5, 5, 5])
    expect(metadata.strings('tokenizer.ggml.merges')[0]).toBe('Ġ t')
    expect(metadata.count('tokenizer.ggml.bos_token_id')).toBe(0)
    expect(metadata.count('tokenizer.ggml.eos_token_id')).toBe(1)
    expect(metadata.boolean('tokenizer.ggml.add_bos_token')).toBe(true)
    expect(metadata.boolean('tokenizer.ggml.add_eos_token')).toBe(false)
    expect(metadata.string('tokenizer.huggingface.json')).toBe(
      await readFile('pretrained/ripple-8m/tokenizer.json', 'utf8'),
    )
    expect(metadata.string('tokenizer.chat_template')).toBe(checkpoint.chatTemplate)
  })

  const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
  const tail = '| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+'
  const split = (Regex: string) => ({
    type: 'Sequence',
    pretokenizers: [
      { type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false },
      { type: 'ByteLevel', add_prefix_space: false, use_regex: false },
    ],
  })
  const cases: [string | null, Record<string, unknown>][] = [
    ['gpt-2', { pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false } }],
    ['gpt-2', { pre_tokenizer: { type: 'ByteLevel', use_regex: true }, normalizer: { type: 'NFC' } }],
    [null, { pre_tokenizer: { type: 'ByteLevel', add_prefix_space: true } }],
    [null, { pre_tokenizer: { type: 'ByteLevel', use_regex: false } }],
    [null, { pre_tokenizer: { type: 'ByteLevel' }, normalizer: { type: 'Lowercase' } }],
    [null, { pre_tokenizer: { type: 'Whitespace' } }],
    [null, {}],
    ['qwen2', { pre_tokenizer: split(`${contractions}\\p{N}${tail}`) }],
    ['llama-bpe', { pre_tokenizer: split(`${contractions}\\p{N}{1,3}${tail}`), model: { ignore_merges: true } }],
    ['dbrx', { pre_tokenizer: split(`${contractions}\\p{N}{1,3}${tail}`), model: {} }],
    ['bloom', { pre_tokenizer: split(' ?[^(\\s|[.,!?…。，、।۔،])]+') }],
    [null, { pre_tokenizer: split('\\w+') }],
    [
      'smollm',
      {
        pre_tokenizer: {
          type: 'Sequence',
          pretokenizers: [
            { type: 'Digits', individual_digits: true },
            { type: 'ByteLevel', add_prefix_space: false, use_regex: true },
          ],
        },
      },
    ],
  ]
  it.each(cases)('splits as llama.cpp does under the name %s', (name, json) => {
    expect(llamaCppPreTokenizer(json)).toBe(name)
  })
})

describe('a SentencePiece BPE tokenizer', () => {
  const vocab = ['<unk>', '<s>', '</s>', '<0x0A>', '<0xE2>', '▁', 'a', 'b', 'ab', '▁ab', '▁a']
  const json = {
    added_tokens: [special(0, '<unk>'), special(1, '<s>'), special(2, '</s>')],
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: '▁' },
        { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
      ],
    },
    pre_tokenizer: null,
    post_processor: bosFirst,
    model: {
      type: 'BPE',
      byte_fallback: true,
      unk_token: '<unk>',
      vocab: Object.fromEntries(vocab.map((token, id) => [token, id])),
      merges: ['a b', '▁ ab', '▁ a', '▁a b'],
    },
  }

  it('gets scores by the order of its merges', () => {
    const { metadata, warnings } = metadataOf(folderWith(json), vocab.length + 1)
    expect(warnings).toEqual([])
    expect(metadata.string('tokenizer.ggml.model')).toBe('llama')
    expect(metadata.boolean('tokenizer.ggml.add_space_prefix')).toBe(true)
    expect(metadata.values.get('tokenizer.ggml.token_type')!.value).toEqual([2, 3, 3, 6, 6, 1, 1, 1, 1, 1, 1, 5])
    expect(metadata.values.get('tokenizer.ggml.scores')!.value).toEqual([0, 0, 0, 0, 0, -3, -3, -3, -0, -1, -2, 0])
    expect(metadata.count('tokenizer.ggml.unknown_token_id')).toBe(0)
  })

  it('is told by Metaspace too', () => {
    const pre_tokenizer = { type: 'Metaspace', replacement: '▁', prepend_scheme: 'never' }
    const { metadata } = metadataOf(folderWith({ ...json, normalizer: null, pre_tokenizer }), vocab.length)
    expect(metadata.string('tokenizer.ggml.model')).toBe('llama')
    expect(metadata.boolean('tokenizer.ggml.add_space_prefix')).toBe(false)
  })

  it('names the end token that text stops at', () => {
    const eos = (endIds: number[]) =>
      metadataOf(folderWith(json, { endIds }), vocab.length).metadata.count('tokenizer.ggml.eos_token_id')
    expect(eos([])).toBe(2)
    expect(eos([7, 2])).toBe(2)
    expect(eos([7, 8])).toBe(7)
  })
})

describe('any other tokenizer', () => {
  it('keeps its tokenizer.json, with a warning', () => {
    for (const json of [{ model: { type: 'Unigram' } }, { model: { type: 'BPE', vocab: { a: 0 }, merges: [] } }]) {
      const { metadata, warnings } = metadataOf(folderWith(json), 4)
      expect(metadata.has('tokenizer.ggml.model')).toBe(false)
      expect(metadata.string('tokenizer.huggingface.json')).toBe(JSON.stringify(json))
      expect(warnings[0]).toContain('llama.cpp')
    }
  })

  it('or none leaves a model for token ids', () => {
    const { metadata, warnings } = metadataOf(folderWith(null), 4)
    expect(metadata.strings('tokenizer.ggml.tokens')).toEqual(['[PAD0]', '[PAD1]', '[PAD2]', '[PAD3]'])
    expect(metadata.count('tokenizer.ggml.eos_token_id')).toBe(2)
    expect(metadata.has('tokenizer.huggingface.json')).toBe(false)
    expect(warnings[0]).toContain('token ids only')
  })
})

describe('refuses', () => {
  const model = (rest: object) => ({
    pre_tokenizer: { type: 'ByteLevel' },
    model: { type: 'BPE', merges: [], ...rest },
  })
  const cases: [unknown, string][] = [
    [model({}), 'no vocab'],
    [model({ vocab: { a: -1 } }), 'impossible id -1'],
    [model({ vocab: { a: 0.5 } }), 'impossible id'],
    [model({ vocab: { a: 0, b: 0 } }), 'both have id 0'],
    [model({ vocab: { a: 0 }, merges: ['a'] }), 'not a pair'],
    [model({ vocab: { a: 0 }, merges: [['a', 1]] }), 'not a pair'],
    [{ ...model({ vocab: { a: 0 } }), added_tokens: [1] }, 'added_tokens'],
  ]
  it.each(cases)('%j', (json, reason) => {
    expect(() => metadataOf(folderWith(json), 4)).toThrow(FileError)
    expect(() => metadataOf(folderWith(json), 4)).toThrow(reason)
  })

  it('no tokenizer for having more tokens than its model', () => {
    const { metadata } = metadataOf(folderWith(model({ vocab: { a: 0, b: 1, c: 2 } })), 2)
    expect(metadata.strings('tokenizer.ggml.tokens')).toEqual(['a', 'b'])
  })
})
