import { parallel, preNorm } from './blocks/residual.js'
import { defineFamily } from './define.js'
import { attention, biasedNorm, gatedMlp, LAYER_NORM_MODEL, normOfEachHead } from './rows.js'

/** StableLM: LayerNorm, a quarter of each head rotated, a gated MLP; the 12B has norms of each head and both branches side by side. */
export const stablelm = defineFamily({
  architecture: 'stablelm',
  modelTypes: ['stablelm'],
  norm: 'layer',
  defaults: { context: 4096, epsilon: 1e-5 },
  facts: {
    parallelResidual: { tensor: '!ffn_norm.weight' },
    qkNorm: { config: ['qk_layernorm'] },
    qkvBias: { config: ['use_qkv_bias'] },
  },
  accepts: { hidden_act: ['silu'] },
  rope: { pairs: 'halves', partial: 0.25 },
  activation: 'silu',
  model: LAYER_NORM_MODEL,
  layers: [
    biasedNorm('attn_norm', 'input_layernorm'),
    ...attention(),
    ...normOfEachHead('self_attn.q_layernorm.norms.{h}', 'self_attn.k_layernorm.norms.{h}'),
    biasedNorm('ffn_norm', 'post_attention_layernorm', { when: (f) => f.parallelResidual !== true }),
    ...gatedMlp(),
  ],
  layer: (c, x) => (c.h.facts.parallelResidual === true ? parallel(c, x) : preNorm()(c, x)),
})
