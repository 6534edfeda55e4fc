import { preNorm } from './blocks/residual.js'
import { defineFamily } from './define.js'
import { LLAMA } from './llama.js'
import { attention, gatedMlp, norm } from './rows.js'

/** Seed-OSS: a llama with biases on queries, keys and values; llama.cpp calls its second norm post_attention_norm. */
export const seedOss = defineFamily({
  ...LLAMA,
  architecture: 'seed_oss',
  modelTypes: ['seed_oss'],
  defaults: { context: 524_288, headDim: 128, epsilon: 1e-6 },
  facts: {
    qkvBias: { config: ['attention_bias'], default: true },
    outputBias: { config: ['attention_out_bias'] },
    mlpBias: { config: ['mlp_bias'] },
  },
  rope: { pairs: 'halves' },
  layers: [
    norm('attn_norm', 'input_layernorm'),
    ...attention(),
    norm('post_attention_norm', 'post_attention_layernorm'),
    ...gatedMlp(),
  ],
  layer: preNorm('post_attention_norm'),
})
