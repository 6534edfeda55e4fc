import { defineFamily } from './define.js'
import { LLAMA } from './llama.js'
import { attention, BIASES, normsBefore, plainMlp } from './rows.js'

/** Arcee: a llama whose MLP squares a ReLU and has no gate. */
export const arcee = defineFamily({
  ...LLAMA,
  architecture: 'arcee',
  modelTypes: ['arcee'],
  defaults: { context: 4096, epsilon: 1e-5 },
  facts: {
    ...BIASES,
  },
  accepts: { hidden_act: ['relu2'] },
  activation: 'relu2',
  layers: normsBefore(attention({}, { permuted: true }), plainMlp('mlp.up_proj', 'mlp.down_proj')),
})
