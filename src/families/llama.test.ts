import { describe, expect, it } from 'vitest'
import { configOf } from '../../test/random-checkpoint.js'
import { ConfigReader } from '../checkpoint/config-reader.js'
import { GgufMetadata, type GgufValue } from '../checkpoint/gguf-metadata.js'
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
      expect(read(change)).toMatchObject({ ropeBase: 500000, ropeScaling: { type: 'linear', factor: 4 } })
    }
    for (const change of [
      { rope_parameters: undefined, rope_scaling: null },
      { rope_parameters: null },
      { rope_parameters: {} },
    ]) {
      expect(read(change)).toMatchObject({ ropeBase: 10000, ropeScaling: { type: 'none' } })
    }
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
      attentionBias: false,
    })
  })

  it('tells of biases and tied embeddings in the tensors', () => {
    const names = (change: Record<string, unknown>) => llama.tensors(read(change)).map((t) => t.source)
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
    ['expert_count', number(8)],
    ['attention.sliding_window', number(512)],
    ['logit_scale', number(0.5)],
    ['residual_scale', number(0.5)],
    ['rope.dimension_count', number(4)],
    ['attention.value_length', number(16)],
    ['rope.scaling.type', { type: 'string', value: 'yarn' }],
  ])('is refused where %s is not implemented', (key, value) => {
    expect(() => llama.fromMetadata(with_(key, value), all)).toThrow(UnsupportedError)
    expect(() => llama.fromMetadata(with_(key, value), all)).toThrow(/^x.gguf: /)
  })

  it.each<[string, GgufValue]>([
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
      ropeBase: 10000,
      vocabulary: 3,
      tiedEmbeddings: true,
    })
  })
})
