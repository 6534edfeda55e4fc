import { preNorm } from './blocks/residual.js'
import { defineFamily } from './define.js'
import { attention, headNorms, MODEL, norm, plainMlp } from './rows.js'

/** Apertus: an MLP of xIELU, whose numbers each layer learned, and norms of queries and keys. */
export const apertus = defineFamily({
  architecture: 'apertus',
  modelTypes: ['apertus'],
  inLlamaCpp: true,
  layersAt: 'model.layers',
  norm: 'rms',
  facts: {
    context: { default: 65_536 },
    epsilon: { default: 1e-5 },
    qkvBias: { config: ['attention_bias'] },
    outputBias: { config: ['attention_bias'] },
    xieluAlphaN: {},
    xieluAlphaP: {},
    xieluBeta: {},
    xieluEps: {},
  },
  accepts: { hidden_act: ['xielu'] },
  rope: { pairs: 'halves', base: 12e6 },
  activation: 'xielu',
  model: MODEL,
  layers: [
    norm('attn_norm', 'attention_layernorm'),
    ...attention(),
    ...headNorms(),
    norm('ffn_norm', 'feedforward_layernorm'),
    ...plainMlp('mlp.up_proj', 'mlp.down_proj'),
  ],
  layer: preNorm(),
})
