import { defineFamily } from './define.js'
import { LLAMA } from './llama.js'

/** Ministral 3: a llama with YaRN, whose queries grow with the logarithm of their position. */
export const ministral3 = defineFamily({
  ...LLAMA,
  architecture: 'mistral3',
  modelTypes: ['ministral3'],
  facts: {
    ...LLAMA.facts,
    context: { default: 262_144 },
    epsilon: { default: 1e-5 },
    headDim: { default: 128 },
    window: {},
    temperatureScale: { config: ['rope_parameters.llama_4_scaling_beta', 'rope_scaling.llama_4_scaling_beta'] },
    qkvBias: {},
    outputBias: {},
    mlpBias: {},
  },
  rope: { pairs: 'interleaved', permuted: true, base: 1e6 },
})
