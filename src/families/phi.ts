import { parallel, preNorm } from './blocks/residual.js'
import { defineFamily } from './define.js'
import {
  ALL_BIASES,
  attention,
  biasedNorm,
  embedding,
  fusedGatedMlp,
  lmHead,
  MODEL,
  normsBefore,
  plainMlp,
} from './rows.js'

/** Phi 1 to 2: one LayerNorm for attention and MLP side by side, biases everywhere, a part of each head rotated. */
export const phi = defineFamily({
  architecture: 'phi2',
  modelTypes: ['phi'],
  norm: 'layer',
  defaults: { context: 2048, epsilon: 1e-5, headBias: true, ...ALL_BIASES },
  accepts: { hidden_act: ['gelu_new', 'gelu_pytorch_tanh'], qk_layernorm: [false] },
  rope: { pairs: 'halves', partial: 0.5 },
  activation: 'gelu-tanh',
  model: [
    embedding('model.embed_tokens'),
    biasedNorm('output_norm', 'model.final_layernorm'),
    lmHead('lm_head', { bias: 'headBias' }),
  ],
  layers: [
    biasedNorm('attn_norm', 'input_layernorm'),
    ...attention({ output: 'self_attn.dense' }),
    ...plainMlp('mlp.fc1', 'mlp.fc2'),
  ],
  layer: parallel,
})

/** Phi 3 to 4: a llama with fused matrices and LongRoPE. llama.cpp runs it without its window. */
export const phi3 = defineFamily({
  architecture: 'phi3',
  modelTypes: ['phi3'],
  norm: 'rms',
  defaults: { context: 4096, epsilon: 1e-5, fusedQkv: true },
  facts: { window: {} },
  accepts: { hidden_act: ['silu'] },
  rope: { pairs: 'halves', partial: 1 },
  isLocal: () => true,
  activation: 'silu',
  model: MODEL,
  layers: normsBefore(attention(), fusedGatedMlp()),
  layer: preNorm(),
})
