import { preNorm } from './blocks/residual.js'
import { defineFamily } from './define.js'
import { ALL_BIASES, attention, biasedNorm, embedding, lmHead, plainMlp } from './rows.js'

/** BLOOM and BLOOMZ: ALiBi positions, a norm after the embedding, LayerNorm and biases everywhere, a GELU MLP. */
export const bloom = defineFamily({
  architecture: 'bloom',
  modelTypes: ['bloom'],
  layersAt: 'transformer.h',
  norm: 'layer',
  defaults: { tied: true, fusedQkv: true, ...ALL_BIASES },
  facts: {
    hidden: { config: ['n_embed', 'hidden_size'] },
    kvHeads: { config: [] },
    headDim: { config: [] },
    // What BLOOM was trained with; ALiBi itself has no end.
    context: { config: ['seq_length'], default: 2048 },
    feedForward: { config: [], default: (f) => 4 * f.hidden },
    epsilon: { config: ['layer_norm_epsilon'], default: 1e-5 },
  },
  accepts: { apply_residual_connection_post_layernorm: [false] },
  rope: null,
  // The slopes end at 2^-8; neither config.json nor llama.cpp's metadata says it.
  maxBias: 8,
  activation: 'gelu-tanh',
  model: [
    embedding('transformer.word_embeddings'),
    biasedNorm('token_embd_norm', 'transformer.word_embeddings_layernorm'),
    biasedNorm('output_norm', 'transformer.ln_f'),
    lmHead(),
  ],
  layers: [
    biasedNorm('attn_norm', 'input_layernorm'),
    ...attention(
      { fused: 'self_attention.query_key_value', output: 'self_attention.dense' },
      { order: 'heads-of-qkv' },
    ),
    biasedNorm('ffn_norm', 'post_attention_layernorm'),
    ...plainMlp('mlp.dense_h_to_4h', 'mlp.dense_4h_to_h'),
  ],
  layer: preNorm(),
})
