import type { ConfigReader } from '../checkpoint/config-reader.js'
import { preNorm } from './blocks/residual.js'
import { defineFamily } from './define.js'
import type { Facts, FactUses } from './facts.js'
import type { FamilyTable } from './family.js'
import {
  ATTENTION_BIAS,
  attention,
  gatedMlp,
  headNorms,
  MODEL,
  normsBefore,
  routedExperts,
  sharedExpert,
} from './rows.js'

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
  norm: 'rms',
  defaults: { context: 32_768, epsilon: 1e-6, qkvBias: true },
  facts: {
    ...WINDOW,
  },
  accepts: { hidden_act: ['silu'] },
  rope: { pairs: 'halves' },
  isLocal: (layer, f) => layer >= (f.windowFrom ?? 0),
  activation: 'silu',
  model: MODEL,
  layers: normsBefore(attention(), gatedMlp()),
  layer: preNorm(),
}

/** Qwen 1.5 to 2.5: a llama with biases on queries, keys and values. */
export const qwen2 = defineFamily(QWEN2)

const QWEN3: FamilyTable = {
  ...QWEN2,
  architecture: 'qwen3',
  modelTypes: ['qwen3'],
  defaults: { ...QWEN2.defaults, headDim: 128, qkvBias: false },
  facts: {
    ...QWEN2.facts,
    ...ATTENTION_BIAS,
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
  defaults: { ...QWEN2.defaults, experts: 60, expertsUsed: 4, expertWidth: 1408, sharedExpertWidth: 5632 },
  facts: {
    ...QWEN2.facts,
    ...EXPERTS,
    qkvBias: { config: ['qkv_bias'], default: true },
    expertWidth: { ggufDefault: widthOfExperts },
    sharedExpertWidth: { ggufDefault: (f) => f.feedForward },
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
  defaults: {
    ...QWEN3.defaults,
    experts: 128,
    expertsUsed: 8,
    expertWidth: 768,
  },
  facts: {
    ...QWEN3.facts,
    ...EXPERTS,
    headDim: { default: (f) => Math.floor(f.hidden / f.heads) },
    expertWidth: { ggufDefault: widthOfExperts },
    // llama.cpp always divides, and its files do not say it.
    normalizeExperts: { ggufDefault: true },
  },
  // Unlike Qwen 3: transformers has them in all layers, or none.
  isLocal: () => true,
  layers: [...QWEN3.layers, ...routedExperts('mlp')],
})
