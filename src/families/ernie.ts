import { defineFamily } from './define.js'
import { LLAMA } from './llama.js'
import { attention, gatedMlp, normsBefore } from './rows.js'

/** ERNIE 4.5, dense: a llama whose checkpoints have rotary pairs side by side already. */
export const ernie45 = defineFamily({
  ...LLAMA,
  architecture: 'ernie4_5',
  modelTypes: ['ernie4_5'],
  defaults: { context: 131_072, headDim: 128, epsilon: 1e-5, tied: true },
  facts: {
    qkvBias: { config: ['use_bias'] },
    outputBias: { config: ['use_bias'] },
    mlpBias: { config: ['use_bias'] },
  },
  rope: { pairs: 'interleaved', base: 500_000 },
  layers: normsBefore(attention(), gatedMlp()),
})
