import { postNorm, preNorm } from './blocks/residual.js'
import { defineFamily } from './define.js'
import { ALL_BIASES, attention, biasedNorm, embedding, lmHead, plainMlp } from './rows.js'
import type { TensorRow } from './tensor-rows.js'

/** The first two rows of the position table stand for padding. */
const PADDING_POSITIONS = 2

const projected: NonNullable<TensorRow['when']> = (f) => f.embeddingWidth !== f.hidden
const normsFirst: NonNullable<TensorRow['when']> = (f) => f.postNorm !== true
const normsLast: NonNullable<TensorRow['when']> = (f) => f.postNorm === true

/**
 * OPT: learned positions, LayerNorm and biases everywhere, a ReLU MLP. The 350m variant has its norms after the sums, no
 * final norm, and projections between token embeddings and hidden states.
 *
 * llama.cpp has no OPT. Keys and tensor names follow its style (GPT-2 where norms come first, BERT where they come last)
 * and are Shoal's own: `opt.token_embedding_length`, `token_embd_proj.weight`, `output_proj.weight`.
 */
export const opt = defineFamily({
  architecture: 'opt',
  modelTypes: ['opt'],
  inLlamaCpp: false,
  layersAt: 'model.decoder.layers',
  norm: 'layer',
  defaults: { context: 2048, tied: true, ...ALL_BIASES },
  facts: {
    kvHeads: { config: [] },
    headDim: { config: [] },
    learnedPositions: { default: (f) => f.context, ggufDefault: (f) => f.context },
    feedForward: { config: ['ffn_dim'] },
    // PyTorch's default for LayerNorm; config.json does not say it.
    epsilon: { config: [], default: 1e-5 },
    embeddingWidth: {
      config: ['word_embed_proj_dim'],
      key: 'token_embedding_length',
      default: (f) => f.hidden,
      ggufDefault: (f) => f.hidden,
    },
    postNorm: { read: (config) => !config.boolean('do_layer_norm_before', { default: true }) },
    finalNorm: {
      read: (config, f) => f.postNorm !== true && !config.boolean('_remove_final_layer_norm', { default: false }),
    },
  },
  accepts: { activation_function: ['relu'], enable_bias: [true], layer_norm_elementwise_affine: [true] },
  rope: null,
  activation: 'relu',
  model: [
    embedding('model.decoder.embed_tokens'),
    {
      name: 'position_embd',
      source: 'model.decoder.embed_positions',
      shape: ['positions', 'hidden'],
      plain: true,
      lookup: true,
      skipRows: PADDING_POSITIONS,
    },
    {
      name: 'token_embd_proj',
      source: 'model.decoder.project_in',
      shape: ['hidden', 'embedding'],
      when: projected,
    },
    biasedNorm('output_norm', 'model.decoder.final_layer_norm', { when: (f) => f.finalNorm === true }),
    { name: 'output_proj', source: 'model.decoder.project_out', shape: ['embedding', 'hidden'], when: projected },
    lmHead(),
  ],
  layers: [
    biasedNorm('attn_norm', 'self_attn_layer_norm', { when: normsFirst }),
    biasedNorm('attn_output_norm', 'self_attn_layer_norm', { when: normsLast }),
    ...attention({ output: 'self_attn.out_proj' }),
    biasedNorm('ffn_norm', 'final_layer_norm', { when: normsFirst }),
    biasedNorm('layer_output_norm', 'final_layer_norm', { when: normsLast }),
    ...plainMlp('fc1', 'fc2'),
  ],
  layer: (c, x) => (c.h.facts.postNorm === true ? postNorm(c, x) : preNorm()(c, x)),
})
