import { branchNorm, preNorm } from './blocks/residual.js'
import { defineFamily } from './define.js'
import type { FamilyTable } from './family.js'
import {
  ATTENTION_BIAS,
  attention,
  embedding,
  gatedMlp,
  lmHead,
  MODEL,
  norm,
  routedExperts,
  wholeNorms,
} from './rows.js'

const OLMO: FamilyTable = {
  architecture: 'olmo',
  modelTypes: ['olmo'],
  norm: 'layer',
  defaults: { context: 2048 },
  facts: {
    // LayerNorm's own, which config.json does not say.
    epsilon: { config: [], default: 1e-5 },
    clampQkv: {},
    ...ATTENTION_BIAS,
  },
  accepts: { hidden_act: ['silu'] },
  rope: { pairs: 'interleaved', permuted: true },
  activation: 'silu',
  model: [embedding('model.embed_tokens'), lmHead()],
  layers: [...attention({}, { permuted: true }), ...gatedMlp()],
  layer: preNorm(),
}

/** OLMo: LayerNorm without weights, queries, keys and values cut to a range. */
export const olmo = defineFamily(OLMO)

const OLMO2: FamilyTable = {
  ...OLMO,
  architecture: 'olmo2',
  modelTypes: ['olmo2'],
  norm: 'rms',
  defaults: { context: 2048, epsilon: 1e-5 },
  facts: {
    window: { config: [] },
    ...ATTENTION_BIAS,
  },
  rope: { pairs: 'halves', localUnscaled: true },
  isLocal: (layer) => layer % 4 < 3,
  ropeOf: (_, local) => (local ? 'local' : 'full'),
  model: MODEL,
  layers: [
    ...attention(),
    ...wholeNorms(),
    norm('post_attention_norm', 'post_attention_layernorm'),
    ...gatedMlp(),
    norm('post_ffw_norm', 'post_feedforward_layernorm'),
  ],
  layer: branchNorm,
}

/** OLMo 2: norms of branches and of queries and keys, none before the branches. */
export const olmo2 = defineFamily(OLMO2)

/** OLMo 3: OLMo 2 with a window in three layers of four, and YaRN in the fourth. */
export const olmo3 = defineFamily({
  ...OLMO2,
  modelTypes: ['olmo3'],
  defaults: { ...OLMO2.defaults, window: 4096 },
  facts: { ...OLMO2.facts, window: {} },
  rope: { pairs: 'halves', base: 500_000, localUnscaled: true },
})

/** OLMoE: sixty-four routed experts, whose weights are not divided by their sum. */
export const olmoe = defineFamily({
  ...OLMO2,
  architecture: 'olmoe',
  modelTypes: ['olmoe'],
  defaults: { ...OLMO2.defaults, context: 4096, experts: 64, expertsUsed: 8 },
  facts: {
    ...OLMO2.facts,
    clampQkv: {},
    expertWidth: { config: ['intermediate_size'], ggufDefault: (f) => f.feedForward },
    normalizeExperts: {},
  },
  // A window changes nothing: the mask of transformers' class has none, and llama.cpp reads none.
  isLocal: () => false,
  ropeOf: () => 'full',
  layers: [
    norm('attn_norm', 'input_layernorm'),
    ...attention(),
    ...wholeNorms(),
    norm('ffn_norm', 'post_attention_layernorm'),
    ...routedExperts('mlp'),
  ],
  layer: preNorm(),
})
