import { preNorm } from './blocks/residual.js'
import { defineFamily } from './define.js'
import { attention, biasedNorm, embedding, lmHead, plainMlp } from './rows.js'

/** Nemotron and Minitron: LayerNorm with weights as distance from 1, half of each head rotated, an MLP of squared ReLU. */
export const nemotron = defineFamily({
  architecture: 'nemotron',
  modelTypes: ['nemotron'],
  inLlamaCpp: true,
  layersAt: 'model.layers',
  norm: 'layer',
  normOffset: 1,
  facts: {
    context: { default: 4096 },
    epsilon: { default: 1e-5 },
    qkvBias: { config: ['attention_bias'] },
    outputBias: { config: ['attention_bias'] },
    mlpBias: { config: ['mlp_bias'] },
  },
  accepts: { hidden_act: ['relu2'] },
  rope: { pairs: 'halves', partial: 0.5 },
  activation: 'relu2',
  model: [embedding('model.embed_tokens'), biasedNorm('output_norm', 'model.norm'), lmHead()],
  layers: [
    biasedNorm('attn_norm', 'input_layernorm'),
    ...attention(),
    biasedNorm('ffn_norm', 'post_attention_layernorm'),
    ...plainMlp('mlp.up_proj', 'mlp.down_proj'),
  ],
  layer: preNorm(),
})
