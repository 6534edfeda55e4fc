import { defineFamily } from './define.js'
import { LLAMA } from './llama.js'
import { attention, gatedMlp, norm } from './rows.js'

/** ERNIE 4.5, dense: a llama whose checkpoints have rotary pairs side by side already. */
export const ernie45 = defineFamily({
  ...LLAMA,
  architecture: 'ernie4_5',
  modelTypes: ['ernie4_5'],
  facts: {
    context: { default: 131_072 },
    headDim: { default: 128 },
    epsilon: { default: 1e-5 },
    tied: { default: true },
    qkvBias: { config: ['use_bias'] },
    outputBias: { config: ['use_bias'] },
    mlpBias: { config: ['use_bias'] },
  },
  rope: { pairs: 'interleaved', base: 500_000 },
  layers: [
    norm('attn_norm', 'input_layernorm'),
    ...attention(),
    norm('ffn_norm', 'post_attention_layernorm'),
    ...gatedMlp(),
  ],
})
