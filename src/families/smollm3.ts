import { defineFamily } from './define.js'
import { LLAMA } from './llama.js'
import { BIASES } from './rows.js'

/** SmolLM 3: a llama in which some layers, every fourth, do not rotate queries and keys. */
export const smollm3 = defineFamily({
  ...LLAMA,
  architecture: 'smollm3',
  modelTypes: ['smollm3'],
  defaults: { context: 32_768, epsilon: 1e-6, tied: true, rotationPeriod: 4 },
  facts: {
    rotatedLayers: {},
    window: {
      read: (config) =>
        config.boolean('use_sliding_window', { default: false }) ? config.count('sliding_window') : undefined,
    },
    ...BIASES,
  },
  rope: { pairs: 'interleaved', permuted: true, base: 2e6 },
  ropeOf: (layer, _, { rotatedLayers, rotationPeriod = 4 }) =>
    (rotatedLayers === undefined ? (layer + 1) % rotationPeriod !== 0 : rotatedLayers[layer] !== 0) ? 'full' : null,
})
