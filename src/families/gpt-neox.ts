import { parallel, preNorm } from './blocks/residual.js'
import { defineFamily } from './define.js'
import { attention, biasedNorm, embedding, lmHead, normsBefore, plainMlp } from './rows.js'

/** GPT-NeoX and Pythia: attention and MLP side by side, each with a LayerNorm of its own; a quarter of each head rotated. */
export const gptNeox = defineFamily({
  architecture: 'gptneox',
  modelTypes: ['gpt_neox'],
  layersAt: 'gpt_neox.layers',
  norm: 'layer',
  defaults: { context: 2048, epsilon: 1e-5, parallelResidual: true, fusedQkv: true, mlpBias: true },
  facts: {
    // GPT-NeoX 20B.
    otherGelu: { read: (config) => config.string('hidden_act', { default: 'gelu' }) !== 'gelu' || undefined },
    qkvBias: { config: ['attention_bias'], default: true },
    outputBias: { config: ['attention_bias'], default: true },
  },
  accepts: { hidden_act: ['gelu', 'gelu_fast', 'gelu_new', 'gelu_pytorch_tanh'] },
  rope: { pairs: 'halves', partial: 0.25 },
  activation: 'gelu',
  model: [embedding('gpt_neox.embed_in'), biasedNorm('output_norm', 'gpt_neox.final_layer_norm'), lmHead('embed_out')],
  layers: normsBefore(
    attention({ fused: 'attention.query_key_value', output: 'attention.dense' }, { order: 'heads-of-qkv' }),
    plainMlp('mlp.dense_h_to_4h', 'mlp.dense_4h_to_h'),
    biasedNorm,
  ),
  layer: (c, x) => (c.h.facts.parallelResidual === true ? parallel(c, x) : preNorm()(c, x)),
})
