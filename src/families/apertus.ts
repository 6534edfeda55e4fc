import { preNorm } from './blocks/residual.js'
import { defineFamily } from './define.js'
import { ATTENTION_BIAS, attention, headNorms, MODEL, norm, plainMlp } from './rows.js'

/** Apertus: an MLP of xIELU, whose numbers each layer learned, and norms of queries and keys. */
export const apertus = defineFamily({
  architecture: 'apertus',
  modelTypes: ['apertus'],
  norm: 'rms',
  defaults: { context: 65_536, epsilon: 1e-5 },
  facts: {
    ...ATTENTION_BIAS,
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
