import { describe, expect, it } from 'vitest'
import { configOf } from '../../test/random-checkpoint.js'
import { ConfigReader } from '../checkpoint/config-reader.js'
import { GgufMetadata } from '../checkpoint/gguf-metadata.js'
import type { GgufValue } from '../checkpoint/gguf-value.js'
import { FileError, UnsupportedError } from '../errors.js'
import { llama } from './llama.js'

const CONFIG = configOf({
  layers: 2,
  hidden: 32,
  heads: 4,
  kvHeads: 2,
  headDim: 8,
  feedForward: 48,
  vocabulary: 64,
  context: 128,
  tied: false,
  attentionBias: false,
  mlpBias: false,
  ropeTheta: 10000,
  ropeFactor: 1,
  eosTokenId: 1,
  tokenizer: false,
})

function read(change: Record<string, unknown>) {
  return llama.fromConfig(new ConfigReader('config.json', { ...CONFIG, ...change }))
}

describe('config.json of llama', () => {
  it('says rotary positions in the new form or the old one', () => {
    for (const change of [
      { rope_parameters: { rope_theta: 500000, rope_type: 'linear', factor: 4 } },
      { rope_parameters: { rope_type: 'linear', factor: 4 }, rope_theta: 500000 },
      { rope_parameters: undefined, rope_theta: 500000, rope_scaling: { rope_type: 'linear', factor: 4 } },
      { rope_parameters: undefined, rope_theta: 500000, rope_scaling: { type: 'linear', factor: 4 } },
    ]) {
      expect(read(change)).toMatchObject({ ropes: { full: { base: 500000, scaling: { type: 'linear', factor: 4 } } } })
    }
    for (const change of [
      { rope_parameters: undefined, rope_scaling: null },
      { rope_parameters: null },
      { rope_parameters: {} },
    ]) {
      expect(read(change)).toMatchObject({ ropes: { full: { base: 10000, scaling: { type: 'none' } } } })
    }
  })

  it('has rotary positions that an added rope_scaling replaces as a whole, as transformers does', () => {
    const trained = { rope_theta: 50000, rope_type: 'linear', factor: 2 }
    const added = { rope_type: 'linear', factor: 4 }
    // Each as LlamaConfig.from_dict of transformers 5.24 gives it.
    for (const [change, ropeBase, factor] of [
      [{ rope_parameters: trained, rope_scaling: added }, 10000, 4],
      [{ rope_parameters: trained, rope_scaling: added, rope_theta: 7000 }, 7000, 4],
      [{ rope_parameters: trained, rope_scaling: { ...added, rope_theta: 123 } }, 123, 4],
      [{ rope_parameters: trained, rope_scaling: null }, 50000, 2],
      [{ rope_parameters: trained, rope_scaling: {} }, 50000, 2],
      [{ rope_parameters: trained, rope_theta: 7000 }, 50000, 2],
      [{ rope_parameters: null, rope_theta: 7000, rope_scaling: { type: 'linear', factor: 3 } }, 7000, 3],
    ] as const) {
      expect(read(change)).toMatchObject({ ropes: { full: { base: ropeBase, scaling: { type: 'linear', factor } } } })
    }
    // rope_type goes before type, and without either nothing is scaled.
    for (const rope of [{ rope_type: 'default', type: 'linear', factor: 2 }, { factor: 2 }]) {
      expect(read({ rope_parameters: rope })).toMatchObject({ ropes: { full: { scaling: { type: 'none' } } } })
    }
  })

  it('has rotary positions of unknown kinds refused by name', () => {
    const rope = { compressed_attention: { rope_type: 'linear', factor: 2 } }
    expect(() => read({ rope_parameters: rope })).toThrow(/rope_parameters.compressed_attention = .* is not supported/)
  })

  it('takes the context for the original one where rope factors do not say it', () => {
    const rope = { rope_type: 'llama3', factor: 8, low_freq_factor: 1, high_freq_factor: 4, rope_theta: 10000 }
    const original = { ...rope, original_max_position_embeddings: 128 }
    expect(read({ rope_parameters: rope })).toEqual(read({ rope_parameters: original }))
  })

  it('may leave out max_position_embeddings, and has no windows whatever a file says, as in transformers', () => {
    const full = read({
      layer_types: ['full_attention', 'full_attention'],
      max_position_embeddings: undefined,
      head_dim: null,
      sliding_window: 64,
    })
    expect(full).toEqual({ ...read({}), context: 2048, facts: { ...read({}).facts, context: 2048 } })
  })

  it('is refused at once where a head has more dimensions than memory', () => {
    const rope = { rope_type: 'llama3', factor: 8, low_freq_factor: 1, high_freq_factor: 4 }
    const change = { head_dim: 2 ** 31 - 2, rope_parameters: rope }
    expect(() => read(change)).toThrow('config.json: head_dim = 2147483646 is not supported')
    expect(() => read({ ...change, head_dim: 2 ** 31 })).toThrow('field head_dim must be a whole number')
  })

  it('has no norm whose epsilon is below 0: ggml would end the process', () => {
    expect(() => read({ rms_norm_eps: -1e-6 })).toThrow('config.json: field rms_norm_eps must be a number >= 0')
  })

  it('may leave out what has a default', () => {
    const { num_key_value_heads: _, head_dim: __, tie_word_embeddings: ___, attention_bias: ____, ...rest } = CONFIG
    expect(llama.fromConfig(new ConfigReader('config.json', rest))).toMatchObject({
      kvHeads: 4,
      headDim: 8,
      tiedEmbeddings: false,
      facts: { headDim: 8 },
    })
  })

  it('tells of biases and tied embeddings in the tensors', () => {
    const names = (change: Record<string, unknown>) => llama.tensors(read(change)).map((t) => t.sources[0]!.names[0]!)
    expect(names({}).filter((n) => n.endsWith('.bias'))).toEqual([])
    expect(names({})).toContain('lm_head.weight')
    expect(names({ tie_word_embeddings: true })).not.toContain('lm_head.weight')
    expect(names({ attention_bias: true }).filter((n) => n.endsWith('.bias'))).toHaveLength(2 * 4)
    expect(names({ mlp_bias: true }).filter((n) => n.endsWith('.bias'))).toHaveLength(2 * 3)
  })
})

describe('GGUF metadata of llama', () => {
  const h = read({})
  const all = new Set(llama.tensors(h).map((t) => t.name))
  const number = (value: number): GgufValue => ({ type: 'float32', value })
  const with_ = (key: string, value: GgufValue) => {
    const metadata = llama.toMetadata(h)
    return new GgufMetadata('x.gguf', [...metadata.values, [`llama.${key}`, value]])
  }

  it.each<[string, GgufValue]>([
    ['expert_group_count', number(2)],
    ['leading_dense_block_count', number(1)],
    ['attn_logit_softcapping', number(50)],
    ['logit_scale', number(0.5)],
    ['residual_scale', number(0.5)],
    ['attention.value_length', number(16)],
    ['rope.scaling.type', { type: 'string', value: 'dynamic' }],
    ['rope.scaling.attn_factor', number(1.2)],
    ['rope.scaling.yarn_ext_factor', number(1)],
  ])('is refused where %s is not implemented', (key, value) => {
    expect(() => llama.fromMetadata(with_(key, value), all)).toThrow(UnsupportedError)
    expect(() => llama.fromMetadata(with_(key, value), all)).toThrow(/^x.gguf: /)
  })

  const linear = { type: 'string', value: 'linear' } as const
  const none = { type: 'string', value: 'none' } as const
  it.each<[string, Record<string, GgufValue>, number]>([
    ['rope.scale_linear alone', { 'rope.scale_linear': number(4) }, 4],
    ['rope.scaling.factor without a type', { 'rope.scaling.factor': number(4) }, 4],
    ['a type and the older key', { 'rope.scaling.type': linear, 'rope.scale_linear': number(4) }, 4],
    ['both keys', { 'rope.scale_linear': number(8), 'rope.scaling.factor': number(4) }, 4],
    ['both keys, the newer of them 0', { 'rope.scale_linear': number(8), 'rope.scaling.factor': number(0) }, 1],
    ['a type without a factor', { 'rope.scaling.type': linear }, 1],
    ['a factor that the type does not let act', { 'rope.scaling.type': none, 'rope.scaling.factor': number(4) }, 1],
    ['whole numbers', { 'rope.scale_linear': { type: 'uint32', value: 4 } }, 4],
    ['an attn_factor of 1', { 'rope.scaling.attn_factor': number(1), 'rope.scale_linear': number(2) }, 2],
  ])('scales rotary positions linearly as llama.cpp does: %s', (_, pairs, factor) => {
    const entries = Object.entries(pairs).map(([key, value]) => [`llama.${key}`, value] as const)
    const metadata = new GgufMetadata('x.gguf', [...llama.toMetadata(h).values, ...entries])
    const scaling = factor === 1 ? { type: 'none' } : { type: 'linear', factor }
    expect(llama.fromMetadata(metadata, all)).toMatchObject({ ropes: { full: { scaling } } })
    // Factors for each frequency do not stand in its way.
    expect(llama.fromMetadata(metadata, new Set([...all, 'rope_freqs.weight']))).toMatchObject({
      ropes: { full: { scaling: { type: 'factors', factor, factors: null } } },
    })
  })

  it('may say the magnitude of YaRN under an older name, where it is the usual one', () => {
    const read = (magnitude: number) => {
      const yarn: Record<string, GgufValue> = {
        'rope.scaling.type': { type: 'string', value: 'yarn' },
        'rope.scaling.factor': number(8),
        'rope.scaling.yarn_attn_factor': number(magnitude),
      }
      const entries = Object.entries(yarn).map(([key, value]) => [`llama.${key}`, value] as const)
      return llama.fromMetadata(new GgufMetadata('x.gguf', [...llama.toMetadata(h).values, ...entries]), all)
    }
    const magnitude = 1 + 0.1 * Math.log(8)
    expect(read(Math.fround(magnitude))).toMatchObject({ ropes: { full: { scaling: { magnitude } } } })
    expect(() => read(1.3)).toThrow(/^x.gguf: llama.rope.scaling.yarn_attn_factor = 1.3 is not supported/)
  })

  it('may say numbers of heads and widths for each layer', () => {
    const each = (...value: number[]): GgufValue => ({ type: 'array', of: 'uint32', value })
    for (const [key, value, fact] of [
      ['attention.head_count', 4, 'heads'],
      ['attention.head_count_kv', 2, 'kvHeads'],
      ['feed_forward_length', 48, 'feedForward'],
    ] as const) {
      expect(llama.fromMetadata(with_(key, each(value, value)), all)).toEqual(
        llama.fromMetadata(with_(key, number(value)), all),
      )
      const read = llama.fromMetadata(with_(key, each(value, 2 * value)), all)
      expect(read.layer.map((layer) => layer[fact])).toEqual([value, 2 * value])
      expect(llama.toMetadata(read).values.get(`llama.${key}`)).toEqual(each(value, 2 * value))
      for (const wrong of [each(value), each(), each(-1, -1)]) {
        expect(() => llama.fromMetadata(with_(key, wrong), all)).toThrow(FileError)
      }
    }
  })

  it.each<[string, GgufValue]>([
    ['rope.scale_linear', number(-1)],
    ['rope.scaling.factor', number(Number.NaN)],
    ['attention.key_length', { type: 'uint32', value: 2 ** 32 - 2 }],
    ['attention.head_count_kv', number(3)],
    ['attention.key_length', number(7)],
    ['block_count', { type: 'string', value: '2' }],
    ['block_count', number(1.5)],
    ['attention.layer_norm_rms_epsilon', { type: 'string', value: 'small' }],
  ])('is refused where %s makes no sense', (key, value) => {
    expect(() => llama.fromMetadata(with_(key, value), all)).toThrow(FileError)
  })

  it('may leave out what has a default', () => {
    const metadata = llama.toMetadata(h)
    const kept = [...metadata.values].filter(
      ([k]) => !/head_count_kv|key_length|value_length|dimension_count|freq_base|vocab_size/.test(k),
    )
    kept.push(['tokenizer.ggml.tokens', { type: 'array', of: 'string', value: ['a', 'b', 'c'] }])
    expect(llama.fromMetadata(new GgufMetadata('x.gguf', kept), new Set())).toMatchObject({
      kvHeads: 4,
      headDim: 8,
      ropes: { full: { base: 10000 } },
      vocabulary: 3,
      tiedEmbeddings: true,
    })
  })
})
