import { preNorm } from './blocks/residual.js'
import { defineFamily } from './define.js'
import { attention, biasedNorm, embedding, lmHead, plainMlp } from './rows.js'

/** StarCoder 2: LayerNorm and biases, rotary positions, a plain MLP. llama.cpp runs it without its window. */
export const starcoder2 = defineFamily({
  architecture: 'starcoder2',
  modelTypes: ['starcoder2'],
  inLlamaCpp: true,
  layersAt: 'model.layers',
  norm: 'layer',
  facts: {
    context: { default: 4096 },
    epsilon: { default: 1e-5 },
    tied: { default: true },
    window: {},
    qkvBias: { config: ['use_bias'], default: true },
    outputBias: { config: ['use_bias'], default: true },
    mlpBias: { config: ['use_bias'], default: true },
  },
  accepts: { hidden_act: ['gelu_pytorch_tanh', 'gelu_new'] },
  rope: { pairs: 'halves' },
  isLocal: () => true,
  activation: 'gelu-tanh',
  model: [embedding('model.embed_tokens'), biasedNorm('output_norm', 'model.norm'), lmHead()],
  layers: [
    biasedNorm('attn_norm', 'input_layernorm'),
    ...attention(),
    biasedNorm('ffn_norm', 'post_attention_layernorm'),
    ...plainMlp('mlp.c_fc', 'mlp.c_proj'),
  ],
  layer: preNorm(),
})
