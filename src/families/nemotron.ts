import { preNorm } from './blocks/residual.js'
import { defineFamily } from './define.js'
import { attention, BIASES, biasedNorm, LAYER_NORM_MODEL, normsBefore, plainMlp } from './rows.js'

/** Nemotron and Minitron: LayerNorm with weights as distance from 1, half of each head rotated, an MLP of squared ReLU. */
export const nemotron = defineFamily({
  architecture: 'nemotron',
  modelTypes: ['nemotron'],
  norm: 'layer',
  normOffset: 1,
  defaults: { context: 4096, epsilon: 1e-5 },
  facts: {
    ...BIASES,
  },
  accepts: { hidden_act: ['relu2'] },
  rope: { pairs: 'halves', partial: 0.5 },
  activation: 'relu2',
  model: LAYER_NORM_MODEL,
  layers: normsBefore(attention(), plainMlp('mlp.up_proj', 'mlp.down_proj'), biasedNorm),
  layer: preNorm(),
})
