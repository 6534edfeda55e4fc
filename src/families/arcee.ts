import { defineFamily } from './define.js'
import { LLAMA } from './llama.js'
import { attention, norm, plainMlp } from './rows.js'

/** Arcee: a llama whose MLP squares a ReLU and has no gate. */
export const arcee = defineFamily({
  ...LLAMA,
  architecture: 'arcee',
  modelTypes: ['arcee'],
  facts: {
    context: { default: 4096 },
    epsilon: { default: 1e-5 },
    qkvBias: { config: ['attention_bias'] },
    outputBias: { config: ['attention_bias'] },
    mlpBias: { config: ['mlp_bias'] },
  },
  accepts: { hidden_act: ['relu2'] },
  activation: 'relu2',
  layers: [
    norm('attn_norm', 'input_layernorm'),
    ...attention({}, { permuted: true }),
    norm('ffn_norm', 'post_attention_layernorm'),
    ...plainMlp('mlp.up_proj', 'mlp.down_proj'),
  ],
})
