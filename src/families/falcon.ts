import type { ConfigReader } from '../checkpoint/config-reader.js'
import { parallel } from './blocks/residual.js'
import { defineFamily } from './define.js'
import { attention, biasedNorm, embedding, lmHead, plainMlp } from './rows.js'

/** The first config.json of the 40B (RefinedWeb) says it by its KV heads alone. */
function isGrouped(config: ConfigReader): boolean {
  return config.boolean('new_decoder_architecture', { default: config.has('n_head_kv') })
}

/** Falcon 7B and 40B: attention and MLP side by side, with one norm or two, and few KV heads, all in one matrix. */
export const falcon = defineFamily({
  architecture: 'falcon',
  modelTypes: ['falcon', 'RefinedWeb', 'RefinedWebModel'],
  layersAt: 'transformer.h',
  norm: 'layer',
  defaults: { context: 2048, epsilon: 1e-5, tied: true, fusedQkv: true },
  facts: {
    kvHeads: {
      config: ['num_kv_heads', 'n_head_kv'],
      read: (config, { heads }) => {
        if (isGrouped(config)) {
          return config.count(config.has('num_kv_heads') ? 'num_kv_heads' : 'n_head_kv', { default: heads })
        }
        return config.boolean('multi_query', { default: true }) ? 1 : heads
      },
      ggufDefault: 1,
    },
    feedForward: { config: ['ffn_hidden_size'], default: (f) => 4 * f.hidden },
    secondNorm: {
      read: (config) => {
        return config.count('num_ln_in_parallel_attn', { default: isGrouped(config) ? 2 : 1 }) === 2
      },
    },
  },
  accepts: { activation: ['gelu'], alibi: [false], parallel_attn: [true], bias: [false] },
  rope: { pairs: 'halves' },
  activation: 'gelu',
  model: [embedding('transformer.word_embeddings'), biasedNorm('output_norm', 'transformer.ln_f'), lmHead()],
  layers: [
    biasedNorm('attn_norm', 'input_layernorm', { when: (f) => f.secondNorm !== true }),
    biasedNorm('attn_norm', 'ln_mlp', { when: (f) => f.secondNorm === true }),
    biasedNorm('attn_norm_2', 'ln_attn', { when: (f) => f.secondNorm === true }),
    ...attention(
      { fused: 'self_attention.query_key_value', output: 'self_attention.dense' },
      { order: 'groups-of-qkv' },
    ),
    ...plainMlp('mlp.dense_h_to_4h', 'mlp.dense_4h_to_h'),
  ],
  layer: parallel,
})
