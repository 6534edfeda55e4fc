import { defineFamily } from './define.js'
import { LLAMA } from './llama.js'
import { ATTENTION_BIAS, attention, gatedMlp, headNorms, norm } from './rows.js'

/** Hunyuan, dense: queries and keys are normed after they are rotated, and the rotary base is raised once for all. */
export const hunyuanDense = defineFamily({
  ...LLAMA,
  architecture: 'hunyuan-dense',
  modelTypes: ['hunyuan_v1_dense'],
  defaults: { context: 2048, epsilon: 1e-5 },
  facts: {
    ...ATTENTION_BIAS,
  },
  rope: { pairs: 'halves', alpha: true },
  ropeBeforeNorm: true,
  layers: [
    norm('attn_norm', 'input_layernorm'),
    ...attention(),
    ...headNorms('self_attn.query_layernorm', 'self_attn.key_layernorm'),
    norm('ffn_norm', 'post_attention_layernorm'),
    ...gatedMlp(),
  ],
})
