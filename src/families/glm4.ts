import { defineFamily } from './define.js'
import { LLAMA } from './llama.js'
import { attention, fusedGatedMlp, norm } from './rows.js'

/** GLM-4-0414: norms before and after each branch, half of each head rotated, gate and up in one matrix. */
export const glm4 = defineFamily({
  ...LLAMA,
  architecture: 'glm4',
  modelTypes: ['glm4'],
  defaults: { context: 131_072, headDim: 128, epsilon: 1.5625e-7 },
  facts: {
    qkvBias: { config: ['attention_bias'], default: true },
  },
  rope: { pairs: 'interleaved', partial: 0.5 },
  layers: [
    norm('attn_norm', 'input_layernorm'),
    ...attention(),
    norm('post_attention_norm', 'post_self_attn_layernorm'),
    norm('ffn_norm', 'post_attention_layernorm'),
    ...fusedGatedMlp(),
    norm('post_ffw_norm', 'post_mlp_layernorm'),
  ],
})
