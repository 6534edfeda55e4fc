import { defineFamily } from './define.js'
import { LLAMA } from './llama.js'
import { NO_BIASES } from './rows.js'

/** Ministral 3: a llama with YaRN, whose queries grow with the logarithm of their position. */
export const ministral3 = defineFamily({
  ...LLAMA,
  architecture: 'mistral3',
  modelTypes: ['ministral3'],
  defaults: { ...LLAMA.defaults, context: 262_144, epsilon: 1e-5, headDim: 128 },
  facts: {
    ...LLAMA.facts,
    ...NO_BIASES,
    window: {},
    temperatureScale: { config: ['rope_parameters.llama_4_scaling_beta', 'rope_scaling.llama_4_scaling_beta'] },
  },
  rope: { pairs: 'interleaved', permuted: true, base: 1e6 },
})
