import { parallel, preNorm } from './blocks/residual.js'
import { defineFamily } from './define.js'
import { attention, biasedNorm, embedding, fusedGatedMlp, lmHead, MODEL, norm, plainMlp } from './rows.js'

/** Phi 1 to 2: one LayerNorm for attention and MLP side by side, biases everywhere, a part of each head rotated. */
export const phi = defineFamily({
  architecture: 'phi2',
  modelTypes: ['phi'],
  inLlamaCpp: true,
  layersAt: 'model.layers',
  norm: 'layer',
  facts: {
    context: { default: 2048 },
    epsilon: { default: 1e-5 },
    qkvBias: { default: true },
    outputBias: { default: true },
    mlpBias: { default: true },
    headBias: { default: true },
  },
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
  inLlamaCpp: true,
  layersAt: 'model.layers',
  norm: 'rms',
  facts: { context: { default: 4096 }, epsilon: { default: 1e-5 }, window: {}, fusedQkv: { default: true } },
  accepts: { hidden_act: ['silu'] },
  rope: { pairs: 'halves', partial: 1 },
  isLocal: () => true,
  activation: 'silu',
  model: MODEL,
  layers: [
    norm('attn_norm', 'input_layernorm'),
    ...attention(),
    norm('ffn_norm', 'post_attention_layernorm'),
    ...fusedGatedMlp(),
  ],
  layer: preNorm(),
})
