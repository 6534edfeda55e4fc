import { preNorm } from './blocks/residual.js'
import { defineFamily } from './define.js'
import { attention, biasedNorm, LAYER_NORM_MODEL, normsBefore, plainMlp } from './rows.js'

/** StarCoder 2: LayerNorm and biases, rotary positions, a plain MLP. llama.cpp runs it without its window. */
export const starcoder2 = defineFamily({
  architecture: 'starcoder2',
  modelTypes: ['starcoder2'],
  norm: 'layer',
  defaults: { context: 4096, epsilon: 1e-5, tied: true },
  facts: {
    window: {},
    qkvBias: { config: ['use_bias'], default: true },
    outputBias: { config: ['use_bias'], default: true },
    mlpBias: { config: ['use_bias'], default: true },
  },
  accepts: { hidden_act: ['gelu_pytorch_tanh', 'gelu_new'] },
  rope: { pairs: 'halves' },
  isLocal: () => true,
  activation: 'gelu-tanh',
  model: LAYER_NORM_MODEL,
  layers: normsBefore(attention(), plainMlp('mlp.c_fc', 'mlp.c_proj'), biasedNorm),
  layer: preNorm(),
})
