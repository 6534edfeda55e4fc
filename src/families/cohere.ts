import { parallel } from './blocks/residual.js'
import { defineFamily } from './define.js'
import type { FamilyTable } from './family.js'
import { ATTENTION_BIAS, attention, gatedMlp, MODEL, norm, normOfEachHead } from './rows.js'

const COHERE: FamilyTable = {
  architecture: 'command-r',
  modelTypes: ['cohere'],
  norm: 'layer',
  defaults: { context: 8192, epsilon: 1e-5, tied: true, logitScale: 0.0625 },
  facts: {
    qkNorm: { config: ['use_qk_norm'] },
    ...ATTENTION_BIAS,
  },
  accepts: { hidden_act: ['silu'] },
  rope: { pairs: 'interleaved', base: 500_000 },
  activation: 'silu',
  model: MODEL,
  layers: [
    norm('attn_norm', 'input_layernorm'),
    ...attention(),
    ...normOfEachHead('self_attn.q_norm', 'self_attn.k_norm'),
    ...gatedMlp(),
  ],
  layer: parallel,
}

/** Command R and R+: attention and MLP side by side after one LayerNorm without bias, logits scaled down. */
export const cohere = defineFamily(COHERE)

/** Command R7B and A: three layers with a window and rotary positions, one with neither. */
export const cohere2 = defineFamily({
  ...COHERE,
  architecture: 'cohere2',
  modelTypes: ['cohere2'],
  defaults: { ...COHERE.defaults, window: 4096, windowPeriod: 4 },
  facts: { ...COHERE.facts, qkNorm: { config: [] } },
  rope: { pairs: 'interleaved' },
  isLocal: (layer, { windowPeriod = 4 }) => layer % windowPeriod < windowPeriod - 1,
  ropeOf: (_, local) => (local ? 'full' : null),
})
