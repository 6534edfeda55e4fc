import type { Tensor } from '../../ggml/graph.js'
import type { LayerContext } from '../family.js'
import { attention } from './attention.js'
import { mlp } from './mlp.js'
import { hasNorm, layerNorm } from './norm.js'

/** Norm, attention, sum; norm, MLP, sum. What an optional norm of a branch's output is called is Gemma 2's. */
export function preNorm(mlpNorm = 'ffn_norm') {
  return (c: LayerContext, x: Tensor): Tensor => {
    const after = (name: string, branch: Tensor) =>
      name !== mlpNorm && hasNorm(c, name) ? layerNorm(c, name, branch) : branch
    const attended = after('post_attention_norm', attention(c, layerNorm(c, 'attn_norm', x)))
    const middle = join(c, x, 'attention', attended)
    return join(c, middle, 'mlp', after('post_ffw_norm', mlp(c, layerNorm(c, mlpNorm, middle))))
  }
}

/** Norms of what attention and MLP give, and none before them (OLMo 2, EXAONE 4). */
export function branchNorm(c: LayerContext, x: Tensor): Tensor {
  const middle = join(c, x, 'attention', layerNorm(c, 'post_attention_norm', attention(c, x)))
  return join(c, middle, 'mlp', layerNorm(c, 'post_ffw_norm', mlp(c, middle)))
}

/** Norms after the sums (OPT 350m). */
export function postNorm(c: LayerContext, x: Tensor): Tensor {
  const middle = layerNorm(c, 'attn_output_norm', join(c, x, 'attention', attention(c, x)))
  return layerNorm(c, 'layer_output_norm', join(c, middle, 'mlp', mlp(c, middle)))
}

/** Attention and MLP of the same input, each with a norm of its own or both with one (GPT-NeoX, Falcon, Phi, Cohere). */
export function parallel(c: LayerContext, x: Tensor): Tensor {
  const first = layerNorm(c, 'attn_norm', x)
  const forAttention = hasNorm(c, 'attn_norm_2') ? layerNorm(c, 'attn_norm_2', x) : first
  const forMlp = hasNorm(c, 'ffn_norm') ? layerNorm(c, 'ffn_norm', x) : first
  const attended = attention(c, forAttention)
  return join(c, join(c, x, 'attention', attended), 'mlp', mlp(c, c.narrow(forMlp)))
}

/** Adds a branch to the residual stream, whose rows are narrowed to those of the branch. */
function join(c: LayerContext, x: Tensor, which: 'attention' | 'mlp', branch: Tensor): Tensor {
  const { g, h } = c
  const { residualScale } = h.facts
  c.sublayer(which, branch)
  const scaled = residualScale === undefined ? branch : g.scale(branch, residualScale)
  return g.add(which === 'attention' ? c.narrow(x) : x, scaled)
}
