import { preNorm } from './blocks/residual.js'
import { defineFamily } from './define.js'
import { ALL_BIASES, ATTENTION_BIAS, attention, MODEL, norm } from './rows.js'
import type { OtherSource, TensorRow } from './tensor-rows.js'

/** Where gate and up stand in a checkpoint: their rows alternate, and what is not in MXFP4 is stored as [columns, rows]. */
function alternating(part: 'even' | 'odd'): Pick<TensorRow, 'source' | 'shape' | 'or'> {
  const shape = ['experts', 'twoExpertInner', 'hidden'] as const
  const fused: OtherSource = { source: 'mlp.experts.gate_up_proj', shape, part, bare: true }
  return {
    source: `mlp.experts.${part === 'even' ? 'gate' : 'up'}_proj`,
    shape: ['experts', 'expertInner', 'hidden'],
    or: [
      { ...fused, bare: false },
      { ...fused, transposed: true },
    ],
  }
}

/** gpt-oss: routed experts with a clamped gate, biases, attention sinks, a window in every other layer. */
export const gptOss = defineFamily({
  architecture: 'gpt-oss',
  modelTypes: ['gpt_oss'],
  norm: 'rms',
  defaults: {
    context: 131_072,
    headDim: 64,
    epsilon: 1e-5,
    window: 128,
    experts: 128,
    expertsUsed: 4,
    ...ALL_BIASES,
  },
  facts: {
    ...ATTENTION_BIAS,
    mlpBias: { tensor: 'ffn_up_exps.bias' },
    expertWidth: { config: ['intermediate_size'] },
  },
  accepts: { hidden_act: ['silu'], swiglu_alpha: [1.702], swiglu_limit: [7] },
  rope: { pairs: 'halves', base: 150_000, truncate: false },
  isLocal: (layer) => layer % 2 === 0,
  activation: 'swiglu-oai',
  gating: 'chosen',
  model: MODEL,
  layers: [
    norm('attn_norm', 'input_layernorm'),
    ...attention(),
    { name: 'attn_sinks', source: 'self_attn.sinks', shape: ['heads'], bare: true },
    norm('post_attention_norm', 'post_attention_layernorm'),
    { name: 'ffn_gate_inp', source: 'mlp.router', shape: ['experts', 'hidden'], plain: true, bias: true },
    { name: 'ffn_gate_exps', ...alternating('even'), bias: 'mlpBias' },
    { name: 'ffn_up_exps', ...alternating('odd'), bias: 'mlpBias' },
    {
      name: 'ffn_down_exps',
      source: 'mlp.experts.down_proj',
      shape: ['experts', 'hidden', 'expertInner'],
      bias: 'mlpBias',
      or: [
        {
          source: 'mlp.experts.down_proj',
          shape: ['experts', 'hidden', 'expertInner'],
          bare: true,
          transposed: true,
        },
      ],
    },
  ],
  layer: preNorm('post_attention_norm'),
})
