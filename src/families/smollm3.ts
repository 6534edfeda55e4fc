import { defineFamily } from './define.js'
import { LLAMA } from './llama.js'

/** SmolLM 3: a llama in which some layers, every fourth, do not rotate queries and keys. */
export const smollm3 = defineFamily({
  ...LLAMA,
  architecture: 'smollm3',
  modelTypes: ['smollm3'],
  facts: {
    context: { default: 32_768 },
    epsilon: { default: 1e-6 },
    tied: { default: true },
    rotatedLayers: { key: 'rope.rotated_layers' },
    rotationPeriod: { default: 4 },
    window: {
      read: (config) =>
        config.boolean('use_sliding_window', { default: false }) ? config.count('sliding_window') : undefined,
    },
    qkvBias: { config: ['attention_bias'] },
    outputBias: { config: ['attention_bias'] },
    mlpBias: { config: ['mlp_bias'] },
  },
  rope: { pairs: 'interleaved', permuted: true, base: 2e6 },
  ropeOf: (layer, _, { rotatedLayers, rotationPeriod = 4 }) =>
    (rotatedLayers === undefined ? (layer + 1) % rotationPeriod !== 0 : rotatedLayers[layer] !== 0) ? 'full' : null,
})
