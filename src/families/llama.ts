import { preNorm } from './blocks/residual.js'
import { defineFamily } from './define.js'
import type { Facts } from './facts.js'
import type { FamilyTable } from './family.js'
import { attention, BIASES, gatedMlp, MODEL, NO_BIASES, norm, routedExperts, sharedExpert } from './rows.js'

const hasExperts = (f: Facts): true | undefined => (f.experts === undefined ? undefined : true)
const expertWidth = (f: Facts): number | undefined => (f.experts === undefined ? undefined : f.feedForward)

/** Llama 1 to 3 and what is built like it: pre-norm RMSNorm, rotary positions, grouped KV heads, a gated MLP. */
export const LLAMA: FamilyTable = {
  architecture: 'llama',
  modelTypes: ['llama'],
  norm: 'rms',
  defaults: { context: 2048, epsilon: 1e-6 },
  facts: {
    ...BIASES,
    // Of Mistral and Mixtral; a llama's config.json does not say them.
    window: { config: [] },
    experts: { config: [] },
    expertsUsed: { config: [] },
    expertWidth: { config: [], default: expertWidth, ggufDefault: expertWidth },
    sharedExpertWidth: { config: [] },
    normalizeExperts: { config: [], default: hasExperts, ggufDefault: hasExperts },
  },
  accepts: { hidden_act: ['silu'] },
  rope: { pairs: 'interleaved', permuted: true },
  isLocal: () => true,
  activation: 'silu',
  model: MODEL,
  layers: [
    norm('attn_norm', 'input_layernorm'),
    ...attention({}, { permuted: true }),
    norm('ffn_norm', 'post_attention_layernorm'),
    ...gatedMlp(),
    ...routedExperts('block_sparse_moe', { router: 'gate', gate: 'w1', up: 'w3', down: 'w2' }, 'mlp'),
    ...sharedExpert('mlp.shared_expert'),
  ],
  layer: preNorm(),
}

export const llama = defineFamily(LLAMA)

/** Mistral: a llama whose layers may all have a window. llama.cpp runs it without. */
export const mistral = defineFamily({
  ...LLAMA,
  modelTypes: ['mistral'],
  defaults: { ...LLAMA.defaults, context: 131_072, window: 4096 },
  facts: { ...LLAMA.facts, ...NO_BIASES, window: {} },
})

/** Mixtral: eight experts in the place of the MLP, of which every token uses two. */
export const mixtral = defineFamily({
  ...LLAMA,
  modelTypes: ['mixtral'],
  defaults: { ...LLAMA.defaults, context: 131_072, epsilon: 1e-5, experts: 8, expertsUsed: 2 },
  facts: { ...LLAMA.facts, ...NO_BIASES, window: {}, experts: {}, expertsUsed: {} },
  rope: { pairs: 'interleaved', permuted: true, base: 1e6 },
})
