import type { ConfigReader } from '../checkpoint/config-reader.js'
import { preNorm } from './blocks/residual.js'
import { defineFamily } from './define.js'
import type { Facts, FactUses } from './facts.js'
import type { FamilyTable } from './family.js'
import { attention, gatedMlp, headNorms, MODEL, norm, routedExperts, sharedExpert } from './rows.js'

/** Layers from `max_window_layers` on have a window, where config.json switches it on. */
const WINDOW: FactUses = {
  window: { read: (config: ConfigReader) => (usesWindow(config) ? config.count('sliding_window') : undefined) },
  windowFrom: { default: 28 },
}

function usesWindow(config: ConfigReader): boolean {
  return config.boolean('use_sliding_window', { default: false }) && config.has('sliding_window')
}

const QWEN2: FamilyTable = {
  architecture: 'qwen2',
  modelTypes: ['qwen2'],
  inLlamaCpp: true,
  layersAt: 'model.layers',
  norm: 'rms',
  facts: {
    context: { default: 32_768 },
    epsilon: { default: 1e-6 },
    qkvBias: { default: true },
    ...WINDOW,
  },
  accepts: { hidden_act: ['silu'] },
  rope: { pairs: 'halves' },
  isLocal: (layer, f) => layer >= (f.windowFrom ?? 0),
  activation: 'silu',
  model: MODEL,
  layers: [
    norm('attn_norm', 'input_layernorm'),
    ...attention(),
    norm('ffn_norm', 'post_attention_layernorm'),
    ...gatedMlp(),
  ],
  layer: preNorm(),
}

/** Qwen 1.5 to 2.5: a llama with biases on queries, keys and values. */
export const qwen2 = defineFamily(QWEN2)

const QWEN3: FamilyTable = {
  ...QWEN2,
  architecture: 'qwen3',
  modelTypes: ['qwen3'],
  facts: {
    ...QWEN2.facts,
    headDim: { default: 128 },
    qkvBias: { config: ['attention_bias'] },
    outputBias: { config: ['attention_bias'] },
  },
  layers: [...QWEN2.layers, ...headNorms()],
}

/** Qwen 3: norms of each head of queries and keys, and no biases. */
export const qwen3 = defineFamily(QWEN3)

/** Experts in all layers but those that config.json names or passes over. */
const EXPERTS: FactUses = {
  expertsUsed: {},
  expertWidth: {},
  denseLayers: {
    read: (config, { layers }) => {
      const named = config.has('mlp_only_layers') ? config.numbers('mlp_only_layers') : []
      const step = config.count('decoder_sparse_step', { default: 1 })
      const dense = Array.from({ length: layers }, (_, l) => l).filter((l) => named.includes(l) || (l + 1) % step !== 0)
      return dense.length === 0 ? undefined : dense
    },
  },
}

/** Older files do not say it. Source: llama.cpp. */
const widthOfExperts = ({ feedForward, expertsUsed }: Facts): number | undefined =>
  expertsUsed === undefined ? undefined : Math.floor(feedForward / expertsUsed)

/** Qwen 2 MoE: routed experts whose weights are not divided by their sum, and one that all tokens use, behind a gate. */
export const qwen2Moe = defineFamily({
  ...QWEN2,
  architecture: 'qwen2moe',
  modelTypes: ['qwen2_moe'],
  facts: {
    ...QWEN2.facts,
    ...EXPERTS,
    qkvBias: { config: ['qkv_bias'], default: true },
    experts: { default: 60 },
    expertsUsed: { default: 4 },
    expertWidth: { default: 1408, ggufDefault: widthOfExperts },
    sharedExpertWidth: { default: 5632, ggufDefault: (f) => f.feedForward },
    normalizeExperts: {},
  },
  // Unlike Qwen 2: every other layer below the limit.
  isLocal: (layer, f) => layer % 2 === 0 && layer < (f.windowFrom ?? 0),
  layers: [
    ...QWEN2.layers,
    ...routedExperts('mlp'),
    ...sharedExpert('mlp.shared_expert'),
    {
      name: 'ffn_gate_inp_shexp',
      source: 'mlp.shared_expert_gate',
      shape: ['one', 'hidden'],
      flat: true,
      when: (_, layer) => layer?.routed === true,
    },
  ],
})

/** Qwen 3 MoE: Qwen 3's attention over routed experts. */
export const qwen3Moe = defineFamily({
  ...QWEN3,
  architecture: 'qwen3moe',
  modelTypes: ['qwen3_moe'],
  facts: {
    ...QWEN3.facts,
    ...EXPERTS,
    headDim: {},
    experts: { default: 128 },
    expertsUsed: { default: 8 },
    expertWidth: { default: 768, ggufDefault: widthOfExperts },
    // llama.cpp always divides, and its files do not say it.
    normalizeExperts: { default: false, ggufDefault: true },
  },
  // Unlike Qwen 3: transformers has them in all layers, or none.
  isLocal: () => true,
  layers: [...QWEN3.layers, ...routedExperts('mlp')],
})
