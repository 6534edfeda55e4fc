import { parallel, preNorm } from './blocks/residual.js'
import { defineFamily } from './define.js'
import { attention, biasedNorm, embedding, gatedMlp, lmHead, normOfEachHead } from './rows.js'

/** StableLM: LayerNorm, a quarter of each head rotated, a gated MLP; the 12B has norms of each head and both branches side by side. */
export const stablelm = defineFamily({
  architecture: 'stablelm',
  modelTypes: ['stablelm'],
  inLlamaCpp: true,
  layersAt: 'model.layers',
  norm: 'layer',
  facts: {
    context: { default: 4096 },
    epsilon: { default: 1e-5 },
    parallelResidual: { tensor: '!ffn_norm.weight' },
    qkNorm: { config: ['qk_layernorm'] },
    qkvBias: { config: ['use_qkv_bias'] },
  },
  accepts: { hidden_act: ['silu'] },
  rope: { pairs: 'halves', partial: 0.25 },
  activation: 'silu',
  model: [embedding('model.embed_tokens'), biasedNorm('output_norm', 'model.norm'), lmHead()],
  layers: [
    biasedNorm('attn_norm', 'input_layernorm'),
    ...attention(),
    ...normOfEachHead('self_attn.q_layernorm.norms.{h}', 'self_attn.k_layernorm.norms.{h}'),
    biasedNorm('ffn_norm', 'post_attention_layernorm', { when: (f) => f.parallelResidual !== true }),
    ...gatedMlp(),
  ],
  layer: (c, x) => (c.h.facts.parallelResidual === true ? parallel(c, x) : preNorm()(c, x)),
})
