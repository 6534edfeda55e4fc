import { preNorm } from './blocks/residual.js'
import { defineFamily } from './define.js'
import { ALL_BIASES, attention, biasedNorm, embedding, lmHead, plainMlp } from './rows.js'

/** GPT-2: learned positions, LayerNorm and biases, matrices stored as [columns, rows]. */
export const gpt2 = defineFamily({
  architecture: 'gpt2',
  modelTypes: ['gpt2'],
  layersAt: 'transformer.h',
  norm: 'layer',
  defaults: { epsilon: 1e-5, tied: true, fusedQkv: true, ...ALL_BIASES },
  facts: {
    context: { config: ['n_positions', 'n_ctx', 'max_position_embeddings'], default: 1024 },
    learnedPositions: { default: (f) => f.context, ggufDefault: (f) => f.context },
    feedForward: { config: ['n_inner'], default: (f) => 4 * f.hidden },
    // Cerebras-GPT.
    otherGelu: { read: (config) => config.fields.activation_function === 'gelu' || undefined },
  },
  accepts: {
    activation_function: ['gelu_new', 'gelu_pytorch_tanh', 'gelu'],
    scale_attn_weights: [true],
    scale_attn_by_inverse_layer_idx: [false],
    add_cross_attention: [false],
  },
  rope: null,
  activation: 'gelu-tanh',
  model: [
    embedding('transformer.wte'),
    { name: 'position_embd', source: 'transformer.wpe', shape: ['positions', 'hidden'], plain: true, lookup: true },
    biasedNorm('output_norm', 'transformer.ln_f'),
    lmHead(),
  ],
  layers: [
    biasedNorm('attn_norm', 'ln_1'),
    ...attention({ fused: 'attn.c_attn', output: 'attn.c_proj' }, { transposed: true }),
    biasedNorm('ffn_norm', 'ln_2'),
    ...plainMlp('mlp.c_fc', 'mlp.c_proj', { transposed: true }),
  ],
  layer: preNorm(),
})
