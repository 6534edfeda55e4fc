import { preNorm } from './blocks/residual.js'
import { defineFamily } from './define.js'
import type { FactUses } from './facts.js'
import { LLAMA } from './llama.js'
import { ATTENTION_BIAS, attention, gatedMlp, norm, normsBefore } from './rows.js'
import type { OtherSource, TensorRow } from './tensor-rows.js'

const MULTIPLIERS: FactUses = {
  context: { default: 2048 },
  epsilon: { default: 1e-6 },
  embeddingScale: { config: ['embedding_multiplier'], default: 1, ggufDefault: 1 },
  residualScale: { config: ['residual_multiplier'], default: 1, ggufDefault: 1 },
  attentionScale: { config: ['attention_multiplier'], default: 1 },
  logitDivisor: { default: 1, ggufDefault: 1 },
  rotary: {},
  ...ATTENTION_BIAS,
}

/** Granite 3, and GGUF files of Granite 4's dense models: a llama with multipliers of embeddings, branches, scores and logits. */
export const granite = defineFamily({
  ...LLAMA,
  architecture: 'granite',
  modelTypes: ['granite'],
  facts: { ...MULTIPLIERS, mlpBias: { config: ['mlp_bias'] } },
  layers: normsBefore(attention({}, { permuted: true }), gatedMlp()),
})

/** Gate and up in one matrix for each expert, or in one for all tokens. */
function half(
  name: string,
  source: string,
  inner: 'expertInner' | 'sharedInner',
  part: NonNullable<OtherSource['part']>,
): TensorRow {
  const routed = inner === 'expertInner'
  const stack = routed ? (['experts'] as const) : []
  return {
    name,
    source: `${source}.${part === 'first-half' ? 'gate' : 'up'}_proj`,
    shape: [...stack, inner, 'hidden'],
    or: [
      {
        source: `${source}.input_linear`,
        shape: [...stack, routed ? 'twoExpertInner' : 'twoSharedInner', 'hidden'],
        part,
      },
    ],
    ...(!routed && { when: (f) => f.sharedExpertWidth !== undefined }),
  }
}

/** Granite MoE: experts chosen before the softmax, and in one variant an MLP that all tokens use. */
export const graniteMoe = defineFamily({
  ...LLAMA,
  architecture: 'granitemoe',
  modelTypes: ['granitemoe', 'granitemoeshared'],
  defaults: { experts: 8, expertsUsed: 2 },
  facts: {
    ...MULTIPLIERS,
    expertWidth: { config: ['intermediate_size'], ggufDefault: (f) => f.feedForward },
    sharedExpertWidth: {
      read: (config) => config.count('shared_intermediate_size', { default: 0, min: 0 }) || undefined,
    },
  },
  gating: 'chosen',
  layers: [
    norm('attn_norm', 'input_layernorm'),
    ...attention({}, { permuted: true }),
    norm('ffn_norm', 'post_attention_layernorm'),
    { name: 'ffn_gate_inp', source: 'block_sparse_moe.router.layer', shape: ['experts', 'hidden'], plain: true },
    half('ffn_gate_exps', 'block_sparse_moe', 'expertInner', 'first-half'),
    half('ffn_up_exps', 'block_sparse_moe', 'expertInner', 'second-half'),
    {
      name: 'ffn_down_exps',
      source: 'block_sparse_moe.output_linear',
      shape: ['experts', 'hidden', 'expertInner'],
    },
    half('ffn_gate_shexp', 'shared_mlp', 'sharedInner', 'first-half'),
    half('ffn_up_shexp', 'shared_mlp', 'sharedInner', 'second-half'),
    {
      name: 'ffn_down_shexp',
      source: 'shared_mlp.output_linear',
      shape: ['hidden', 'sharedInner'],
      when: (f) => f.sharedExpertWidth !== undefined,
    },
  ],
  layer: preNorm(),
})
