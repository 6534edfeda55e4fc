import { spawnSync } from 'node:child_process'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  byteLevelVocabulary,
  metadataOf,
  sentencePieceVocabulary,
  type VocabularyKeys,
} from '../../test/gguf-vocabulary.js'
import { realModel, SMOLLM2 } from '../../test/real-model.mjs'
import { readGguf } from '../checkpoint/gguf.js'
import type { GgufValue } from '../checkpoint/gguf-value.js'
import { FileError, UnsupportedError } from '../errors.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'
import { openGgufTokenizer } from './gguf-tokenizer.js'
import { cutLongRuns, WholeTexts } from './long-runs.js'

async function open(keys: VocabularyKeys): Promise<Tokenizer> {
  return (await openGgufTokenizer(metadataOf(keys)))!.tokenizer
}

function strings(value: readonly string[]): GgufValue {
  return { type: 'array', of: 'string', value }
}

describe('byte-level BPE', () => {
  it('merges, finds special tokens where it is to, and adds what the file says', async () => {
    const keys = byteLevelVocabulary('gpt-2')
    const t = await open(keys)
    const [the, end] = [258, 259]
    expect(t.size).toBe(260)
    expect(t.endIds).toEqual([end])
    expect(t.encode(' the<|end|>', { addSpecialTokens: false })).toEqual([the, end])
    expect(t.encode(' the<|end|>', { addSpecialTokens: false, parseSpecial: false }).slice(0, 2)).toEqual([
      the,
      '<'.charCodeAt(0),
    ])
    expect(t.encode('')).toEqual([])
    const adding = await open({ ...keys, add_bos_token: { type: 'bool', value: true } })
    expect(adding.encode(' the')).toEqual([end, the])
    expect(adding.encode(' the', { addSpecialTokens: false })).toEqual([the])
    expect(adding.encode('')).toEqual([end])
    t.dispose()
    adding.dispose()
  })

  it('gives back any text, and tells pieces and special tokens', async () => {
    const t = await open(byteLevelVocabulary('qwen2'))
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.lorem()), (text) => {
        fc.pre(!text.includes('<|end|>'))
        expect(t.decode(t.encode(text))).toBe(text.toWellFormed())
      }),
    )
    expect(t.decode([258, 259], { skipSpecialTokens: true })).toBe(' the')
    expect([t.piece(258), t.piece(260), t.piece(-1)]).toEqual(['Ġthe', null, null])
    expect([258, 259, 9999].map((id) => t.isSpecial(id))).toEqual([false, true, false])
    expect(t.decode([9999, 258])).toBe(' the')
    t.dispose()
  })

  it('cuts a million characters without a space in seconds, whatever stands for itself', async () => {
    const keys = byteLevelVocabulary('deepseek-llm')
    const specials = Array.from({ length: 20_000 }, (_, i) => `<|special ${i}|>`)
    const tokens = [...(keys.tokens as { value: readonly string[] }).value, ...specials]
    const types = [...(keys.token_type as { value: readonly number[] }).value, ...specials.map(() => 3)]
    const token_type: GgufValue = { type: 'array', of: 'int32', value: types }
    const t = await open({ ...keys, tokens: strings(tokens), token_type })
    for (const run of ['a', ' ', '漢']) expect(t.encode(run.repeat(300_000)).length).toBeGreaterThan(1000)
    t.dispose()
  }, 60_000)

  it('says where a file does not tell how to split text', async () => {
    const { warnings } = (await openGgufTokenizer(metadataOf(byteLevelVocabulary('default'))))!
    expect(warnings).toEqual([expect.stringMatching(/does not say how to split text/)])
  })

  it('gives the event loop its turns while it loads', async () => {
    const keys = byteLevelVocabulary('gpt-2')
    const more = Array.from({ length: 100_000 }, (_, i) => `w${i}`)
    const tokens = [...(keys.tokens as { value: readonly string[] }).value, ...more]
    let turns = 0
    let loading = true
    const turn = (): void => {
      turns++
      if (loading) setImmediate(turn)
    }
    setImmediate(turn)
    const { token_type: _, ...untyped } = keys
    const t = await open({ ...untyped, tokens: strings(tokens) })
    loading = false
    expect(t.encode('w7')).toEqual([119, 55])
    expect(turns).toBeGreaterThan(5)
    t.dispose()
  })

  it('ends with ids on runs that would overflow the stack of std::regex', () => {
    const kinds = `
      falcon default deepseek-llm deepseek-coder deepseek-v3 hunyuan-dense joyai-llm youtu bloom poro-chat gpt3-finnish viking
      tekken chameleon gpt-4o llama4 kanana2 talkie minimax-m2 granite-embed-multi-97m tiny_aya cohere2moe superbpe bailingmoe
      bailingmoe2 llada-moe seed-coder afmoe exaone-moe jais-2 minicpm5
    `
    const script = ['--import', './test/typescript-loader.mjs', 'test/long-runs.mjs']
    const run = spawnSync(process.execPath, [...script, ...kinds.trim().split(/\s+/)], { encoding: 'utf8' })
    expect(run.stdout.trimEnd().split('\n').at(-1), run.stderr).toBe('done')
  }, 120_000)
})

describe('SentencePiece', () => {
  it('puts a space before a text and takes it away again, but not before what follows other tokens', async () => {
    const t = await open(sentencePieceVocabulary())
    const ids = t.encode('hello')
    expect(ids[0]).toBe(1)
    expect(ids).toHaveLength(2)
    expect(t.decode(ids.slice(1))).toBe('hello')
    expect(t.decode(ids.slice(1), { continues: true })).toBe(' hello')
    expect(t.decode(t.encode('hé', { addSpecialTokens: false }))).toBe('hé')
    expect(t.endIds).toEqual([2])
    t.dispose()
  })
})

describe('a vocabulary that would end the process is refused in one line', () => {
  const bpe = byteLevelVocabulary('gpt-2')
  const spm = sentencePieceVocabulary()
  const tokens = (keys: VocabularyKeys) => (keys.tokens as { value: readonly string[] }).value
  const types = (keys: VocabularyKeys) => (keys.token_type as { value: readonly number[] }).value
  const cases: [string, VocabularyKeys, RegExp][] = [
    ['a token twice', { ...bpe, tokens: strings(tokens(bpe).with(5, tokens(bpe)[4]!)) }, /tokens 4 and 5 are both/],
    ['no tokens', { ...bpe, tokens: strings([]) }, /has 0 tokens/],
    [
      'a token of megabytes',
      { ...bpe, tokens: strings(tokens(bpe).with(5, 'x'.repeat(5000))) },
      /5000 characters long/,
    ],
    [
      'too few types',
      { ...bpe, token_type: { type: 'array', of: 'int32', value: [1] } },
      /has 260 tokens and 1 types of tokens/,
    ],
    [
      'a type that there is not',
      { ...bpe, token_type: { type: 'array', of: 'int32', value: types(bpe).with(7, 9) } },
      /token 7 has the unknown type 9/,
    ],
    [
      'a byte that is none',
      { ...spm, tokens: strings(tokens(spm).with(3, '<0x0>')) },
      /token 3 is said to be a byte, and is "<0x0>"/,
    ],
    [
      'a byte without a token',
      {
        ...spm,
        tokens: strings(tokens(spm).with(3 + 0x41, '[A]')),
        token_type: { type: 'array', of: 'int32', value: types(spm).with(3 + 0x41, 1) },
      },
      /no token for byte 65/,
    ],
    [
      'scores that are no numbers',
      { ...spm, scores: { type: 'array', of: 'float32', value: tokens(spm).map(() => Number.NaN) } },
      /the score of token 0 is not a number/,
    ],
    ['too few scores', { ...spm, scores: { type: 'array', of: 'float32', value: [0] } }, /tokens and 1 scores/],
    ['no merges', Object.fromEntries(Object.entries(bpe).filter(([k]) => k !== 'merges')), /merges is missing/],
    ['a merge of one token', { ...bpe, merges: strings(['ab']) }, /merge 0 is not two tokens/],
    ['a flag that is none', { ...bpe, add_bos_token: { type: 'uint32', value: 1 } }, /must be true or false/],
    [
      'a kind that libllama has and Shoal does not hand over',
      { ...bpe, model: { type: 'string', value: 't5' } },
      /"t5"/,
    ],
    ['a kind of splitting for another kind of vocabulary', byteLevelVocabulary('whitespace'), /"whitespace"/],
    ['a kind of splitting that nobody knows', byteLevelVocabulary('moon-2'), /unknown pre-tokenizer type: 'moon-2'/],
  ]

  it.each(cases)('%s', async (_, keys, message) => {
    const refusal = openGgufTokenizer(metadataOf(keys))
    await expect(refusal).rejects.toThrow(message)
    const error: unknown = await refusal.catch((e: unknown) => e)
    expect(error instanceof FileError || error instanceof UnsupportedError).toBe(true)
    expect((error as Error).message).toMatch(/^model\.gguf: [^\n]{1,280}$/)
  })

  it('but an id out of range only warns, as llama.cpp goes by its default there', async () => {
    const { tokenizer, warnings } = (await openGgufTokenizer(
      metadataOf({ ...bpe, padding_token_id: { type: 'uint32', value: 5000 } }),
    ))!
    expect(warnings).toEqual(['tokenizer.ggml.padding_token_id = 5000 is not one of the 260 tokens'])
    tokenizer.dispose()
  })

  it('and where BOS is to be added to every text there must be one', async () => {
    const few = {
      ...bpe,
      tokens: strings(['a', 'b']),
      token_type: { type: 'array', of: 'int32', value: [1, 1] } as GgufValue,
      merges: strings([]),
      bos_token_id: { type: 'uint32', value: 5000 } as GgufValue,
    }
    await expect(
      openGgufTokenizer(metadataOf({ ...few, add_bos_token: { type: 'bool', value: true } })),
    ).rejects.toThrow(/there is no tokenizer\.ggml\.bos_token_id/)
    const t = await open(few)
    expect(t.encode('ab')).toEqual([0, 1])
    t.dispose()
  })

  it('and a file without a vocabulary has no tokenizer', async () => {
    expect(await openGgufTokenizer(metadataOf({}))).toBeNull()
    expect(await openGgufTokenizer(metadataOf({ ...bpe, model: { type: 'string', value: 'none' } }))).toBeNull()
  })
})

describe('long runs are cut', () => {
  it.each(['class', 'space', 'line'] as const)('nowhere in a text whose runs end by %s', (end) => {
    const text = `${'word 12 — '.repeat(50)}\n`.repeat(20)
    expect(cutLongRuns(text, end, new WholeTexts([]))).toEqual([text])
  })

  it('so that none is longer than a thousand characters, and nothing is lost', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom('a', '1', ' ', '!', '😀', '\n', 'é'), fc.integer({ min: 1, max: 2500 }))),
        fc.constantFrom('class', 'space', 'line'),
        (runs, end) => {
          const text = runs.map(([c, n]) => c.repeat(n)).join('')
          const pieces = cutLongRuns(text, end as 'class', new WholeTexts([]))
          expect(pieces.join('')).toBe(text)
          if (end !== 'class') return
          for (const piece of pieces) expect(/([a-zé])\1{1001}|(!)\2{1001}| {1002}/.test(piece)).toBe(false)
        },
      ),
    )
  })

  it('but not inside a token that stands for itself', () => {
    const text = `${'<'.repeat(998)}<|im_end|>${'<'.repeat(500)}`
    const pieces = cutLongRuns(text, 'space', new WholeTexts(['<|im_end|>']))
    expect(pieces.join('')).toBe(text)
    expect(pieces.some((piece) => piece.includes('<|im_end|>'))).toBe(true)
  })
})

const smollm2 = realModel(SMOLLM2)
describe.skipIf(smollm2 === null)('SmolLM2', () => {
  it('has its text, its ends and its special tokens', async () => {
    const { metadata } = await readGguf(smollm2!)
    const { tokenizer: t, warnings } = (await openGgufTokenizer(metadata))!
    expect(warnings).toEqual([])
    expect(t.size).toBe(49152)
    expect(t.endIds).toEqual(expect.arrayContaining([0, 2]))
    expect(t.encode('<|im_start|>user\nHello<|im_end|>')).toEqual([1, 4093, 198, 19556, 2])
    expect(t.decode([1, 4093, 198, 19556, 2], { skipSpecialTokens: true })).toBe('user\nHello')
    t.dispose()
  })
})
