import type { ConfigReader } from '../checkpoint/config-reader.js'
import { preNorm } from './blocks/residual.js'
import { defineFamily } from './define.js'
import type { Facts } from './facts.js'
import type { FamilyTable } from './family.js'
import { ATTENTION_BIAS, attention, gatedMlp, headNorms, MODEL, norm, normsBefore } from './rows.js'

const rootOfWidth = (f: Facts): number => Math.sqrt(f.hidden)

const GEMMA: FamilyTable = {
  architecture: 'gemma',
  modelTypes: ['gemma'],
  norm: 'rms',
  normOffset: 1,
  defaults: {
    context: 8192,
    headDim: 256,
    epsilon: 1e-6,
    tied: true,
  },
  facts: { ...ATTENTION_BIAS, embeddingScale: { default: rootOfWidth, ggufDefault: rootOfWidth } },
  // Older files say gelu and mean its approximation; transformers reads it so.
  accepts: {
    hidden_activation: ['gelu_pytorch_tanh'],
    hidden_act: ['gelu_pytorch_tanh', 'gelu', 'gelu_new'],
    use_bidirectional_attention: [false],
  },
  rope: { pairs: 'halves' },
  scalesQueries: true,
  activation: 'gelu-tanh',
  model: MODEL,
  layers: normsBefore(attention(), gatedMlp()),
  layer: preNorm(),
}

/** Gemma: embeddings times the root of their width, norms as distance from 1, a GELU gate. */
export const gemma = defineFamily(GEMMA)

/** Scores are scaled by a number of config.json, which GGUF files do not have: llama.cpp knows it by the layers of the 27B. */
function queryScale(layersOf27B: number) {
  return {
    read: (config: ConfigReader) => 1 / Math.sqrt(config.number('query_pre_attn_scalar', { default: 256, min: 1 })),
    ggufDefault: (f: Facts) => 1 / Math.sqrt(f.layers === layersOf27B ? f.hidden / f.heads : f.headDim),
  }
}

const BOTH_NORMS: FamilyTable['layers'] = [
  norm('attn_norm', 'input_layernorm'),
  ...attention(),
  norm('post_attention_norm', 'post_attention_layernorm'),
  norm('ffn_norm', 'pre_feedforward_layernorm'),
  ...gatedMlp(),
  norm('post_ffw_norm', 'post_feedforward_layernorm'),
]

/** Gemma 2: norms before and after each branch, soft caps, a window in every other layer. */
export const gemma2 = defineFamily({
  ...GEMMA,
  architecture: 'gemma2',
  modelTypes: ['gemma2'],
  defaults: { ...GEMMA.defaults, window: 4096, attentionSoftcap: 50, logitSoftcap: 30 },
  facts: {
    ...GEMMA.facts,
    window: { ggufDefault: 4096 },
    attentionScale: queryScale(46),
    attentionSoftcap: { ggufDefault: 50 },
    logitSoftcap: { ggufDefault: 30 },
  },
  isLocal: (layer) => layer % 2 === 0,
  layers: BOTH_NORMS,
})

/** Gemma 3: norms of queries and keys in the place of the caps, five layers with a window of six, rotated on another base. */
export const gemma3 = defineFamily({
  ...GEMMA,
  architecture: 'gemma3',
  modelTypes: ['gemma3_text'],
  defaults: {
    ...GEMMA.defaults,
    context: 131_072,
    heads: 8,
    kvHeads: 4,
    vocabulary: 262_208,
    window: 4096,
    windowPeriod: 6,
  },
  facts: {
    ...GEMMA.facts,
    attentionScale: queryScale(62),
    attentionSoftcap: {},
    logitSoftcap: {},
  },
  rope: { pairs: 'halves', base: 1e6, localBase: 10_000, localUnscaled: true },
  isLocal: (layer, { windowPeriod = 6 }) => layer % windowPeriod < windowPeriod - 1,
  ropeOf: (_, local) => (local ? 'local' : 'full'),
  layers: [...BOTH_NORMS, ...headNorms()],
})
