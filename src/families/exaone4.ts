import type { ConfigReader } from '../checkpoint/config-reader.js'
import { branchNorm } from './blocks/residual.js'
import { defineFamily } from './define.js'
import { LLAMA } from './llama.js'
import { attention, gatedMlp, headNorms, norm } from './rows.js'

/** As a number, or as published: `LLLG` for three layers with a window and one without. */
function periodOf(config: ConfigReader): number {
  const pattern = config.fields.sliding_window_pattern
  if (typeof pattern !== 'string') return config.count('sliding_window_pattern', { default: 4, min: 0 })
  if (!/^L*G$/.test(pattern)) throw config.unsupported('sliding_window_pattern')
  return pattern.length
}

/** EXAONE 4: norms of branches only; where layers have a window, those without one are not rotated. */
export const exaone4 = defineFamily({
  ...LLAMA,
  architecture: 'exaone4',
  modelTypes: ['exaone4'],
  defaults: { context: 2048, epsilon: 1e-5 },
  facts: {
    // llama.cpp gives a window to the model of 64 layers.
    window: { default: 4096, ggufDefault: (f) => (f.layers === 64 ? 4096 : undefined) },
    // 0 where there is no window.
    windowPeriod: { read: (config) => periodOf(config) || undefined },
  },
  rope: { pairs: 'halves' },
  isLocal: (layer, { windowPeriod = 4 }) => layer % windowPeriod < windowPeriod - 1,
  ropeOf: (_, local, { window }) => (window === undefined || local ? 'full' : null),
  layers: [
    ...attention(),
    ...headNorms(),
    norm('post_attention_norm', 'post_attention_layernorm'),
    ...gatedMlp(),
    norm('post_ffw_norm', 'post_feedforward_layernorm'),
  ],
  layer: branchNorm,
})
