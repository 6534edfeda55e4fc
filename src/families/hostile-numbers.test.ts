import { describe, expect, it } from 'vitest'
import { ConfigReader } from '../checkpoint/config-reader.js'
import { GgufMetadata } from '../checkpoint/gguf-metadata.js'
import type { GgufValue } from '../checkpoint/gguf-value.js'
import { readConfig } from '../checkpoint/huggingface.js'
import { openWeights } from '../checkpoint/sharded.js'
import { FileError, UnsupportedError } from '../errors.js'
import { familyByArchitecture, familyByModelType } from './index.js'

const FOLDER = 'test/fixtures/checkpoints'

describe('config.json with a number that no graph can be built with', () => {
  it.each([
    ['qwen3_moe', { num_experts_per_tok: 1000 }, 'num_experts_per_tok = 1000 is not supported'],
    ['qwen3_moe', { num_local_experts: 2 ** 31 - 1 }, 'num_local_experts must be a whole number from 1 to 65536'],
    ['qwen3_moe', { moe_intermediate_size: null }, 'is not supported'],
    ['mixtral', { num_local_experts: 1, num_experts_per_tok: 2 }, 'num_experts_per_tok = 2 is not supported'],
    ['stablelm-12b', { num_attention_heads: 2 ** 30 }, 'num_attention_heads must be a whole number from 1 to 65536'],
    ['llama', { num_key_value_heads: 1000 }, 'num_key_value_heads = 1000 is not supported'],
    ['stablelm', { partial_rotary_factor: 0.001, rope_parameters: null }, 'partial_rotary_factor = 0.001'],
    ['nemotron', { head_dim: 2, partial_rotary_factor: null, rope_parameters: null }, 'head_dim = 2 is not supported'],
    ['falcon-40b', { num_kv_heads: 3 }, 'num_kv_heads = 3 is not supported'],
    ['llama', { rope_scaling: { type: 'longrope', long_factor: Array(999).fill(1) } }, '1,1,1… is not supported'],
    ['gemma2', { sliding_window: 0 }, 'sliding_window must be a whole number'],
    ['gemma2', { sliding_window: -1 }, 'sliding_window must be a whole number'],
    ['gemma2', { attn_logit_softcapping: 0 }, 'attn_logit_softcapping = 0 is not supported'],
    ['gemma2', { final_logit_softcapping: 0 }, 'final_logit_softcapping = 0 is not supported'],
    ['gemma2', { layer_types: ['full_attention'] }, 'layer_types = ["full_attention"] is not supported'],
    ['granite', { logits_scaling: 0 }, 'logits_scaling = 0 is not supported'],
    ['olmo', { clip_qkv: -1 }, 'clip_qkv = -1 is not supported'],
    ['smollm3-nope', { no_rope_layers: [1] }, 'no_rope_layers = [1] is not supported'],
    ['exaone4-window', { sliding_window_pattern: 'LGLG', layer_types: null }, 'sliding_window_pattern = "LGLG"'],
  ])('%s: %j', async (fixture, change, reason) => {
    const { fields } = await readConfig(`${FOLDER}/${fixture}`)
    const family = familyByModelType(String(fields.model_type), fixture)
    const read = () => family.fromConfig(new ConfigReader('config.json', { ...fields, ...change }))
    expect(read).toThrow(reason)
    expect(read).toThrow(/^config.json: /)
  })

  it('lists no names of experts that nobody asks for', async () => {
    const { fields } = await readConfig(`${FOLDER}/qwen3_moe`)
    const many = {
      ...fields,
      num_hidden_layers: 4096,
      num_local_experts: 65_536,
      layer_types: null,
      mlp_only_layers: null,
    }
    const family = familyByModelType('qwen3_moe', 'config.json')
    const tensors = family.tensors(family.fromConfig(new ConfigReader('config.json', many)))
    expect(tensors.find(({ name }) => name === 'blk.4095.ffn_up_exps.weight')?.shape[0]).toBe(65_536)
  })
})

describe('metadata with a number that no graph can be built with', () => {
  const number = (value: number): GgufValue => ({ type: 'uint32', value })
  const list = (...value: number[]): GgufValue => ({ type: 'array', of: 'uint32', value })

  it.each([
    ['qwen3_moe', 'qwen3moe.expert_used_count', number(1000), '= 1000 does not fit'],
    ['qwen3_moe', 'qwen3moe.expert_used_count', number(0), '= 0 does not fit'],
    ['qwen3_moe', 'qwen3moe.expert_used_count', null, 'is missing'],
    ['qwen3_moe', 'qwen3moe.expert_count', number(2 ** 32 - 1), 'must be from 1 to 65536'],
    ['gpt_oss', 'gpt-oss.expert_feed_forward_length', null, 'is missing'],
    ['llama', 'llama.attention.head_count', number(2 ** 31), 'must be from 1 to 65536'],
    ['llama', 'llama.attention.head_count', list(4, 4, 4, 4, 2 ** 31), 'must have numbers from 1 to 65536'],
    ['llama', 'llama.attention.head_count_kv', list(2, 2, 2, 2, 3), 'do not fit'],
    ['llama', 'llama.attention.head_count_kv', list(2, 2), 'must be one number for each of the 5 layers'],
    ['llama', 'llama.attention.head_count_kv', list(2, 2, 2, 2, 0), 'is 0 for some layers'],
    ['llama', 'llama.attention.key_length', number(2 ** 31), 'do not fit'],
    ['llama', 'llama.rope.dimension_count', number(0), 'must be above 0'],
    ['llama', 'llama.rope.dimension_count', number(2 ** 31), 'do not fit'],
    ['apertus', 'xielu.alpha_n', null, 'is missing'],
    ['apertus', 'xielu.beta', { type: 'array', of: 'float32', value: [1] } as GgufValue, 'one number for each'],
    ['olmo', 'olmo.attention.clamp_kqv', { type: 'float32', value: -1 } as GgufValue, '= -1 does not fit'],
  ])('%s: %s = %j', async (fixture, key, value, reason) => {
    const config = await readConfig(`${FOLDER}/${fixture}`)
    const family = familyByModelType(config.string('model_type'), fixture)
    const weights = await openWeights(`${FOLDER}/${fixture}`)
    const h = await family.withScalars(family.fromConfig(config), weights)
    await weights.close()
    const names = new Set([...family.tensors(h), ...family.computedTensors(h)].map((t) => t.name))
    const entries = new Map(family.toMetadata(h).values)
    entries.delete(key)
    if (value !== null) entries.set(key, value)
    const reader = familyByArchitecture(family.architecture, fixture)
    const read = () => reader.fromMetadata(new GgufMetadata('x.gguf', entries), names)
    expect(read).toThrow(/^x.gguf: /)
    expect(read).toThrow(reason)
    let error: unknown
    try {
      read()
    } catch (thrown) {
      error = thrown
    }
    expect(error instanceof FileError || error instanceof UnsupportedError).toBe(true)
  })

  it('has windows of any size', async () => {
    const config = await readConfig(`${FOLDER}/gemma2`)
    const family = familyByModelType(config.string('model_type'), 'gemma2')
    const h = family.fromConfig(config)
    const names = new Set(family.tensors(h).map((t) => t.name))
    for (const [value, window] of [
      [0, 4096],
      [1, 1],
      [2 ** 32 - 1, 2 ** 32 - 1],
    ] as const) {
      const entries = new Map(family.toMetadata(h).values).set('gemma2.attention.sliding_window', number(value))
      expect(family.fromMetadata(new GgufMetadata('x.gguf', entries), names).layer[0]?.window).toBe(window)
    }
  })
})
