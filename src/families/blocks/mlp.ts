import type { Tensor } from '../../ggml/graph.js'
import type { LayerContext } from '../family.js'
import { experts } from './experts.js'
import { activate, gated } from './gated.js'
import { linear } from './linear.js'

/** A layer's MLP: gated where it has a gate, plain where not, of experts where it has a router. [H, n] -> [H, n] */
export function mlp(c: LayerContext, x: Tensor): Tensor {
  if (c.facts.routed) return experts(c, x)
  return linear(c, 'ffn_down', inner(c, x))
}

function inner(c: LayerContext, x: Tensor): Tensor {
  const { g, facts, weights } = c
  const up = linear(c, 'ffn_up', x)
  if (weights.optional(`blk.${c.layer}.ffn_gate.weight`) !== null) return gated(c, linear(c, 'ffn_gate', x), up)
  if (up.shape[0] !== 2 * facts.feedForward) return activate(c, up)
  // Gate and up in one matrix, the gate first.
  const half = (offset: number): Tensor =>
    g.contiguous(g.view(up, [facts.feedForward, up.shape[1], 1], [up.strides[1], up.bytes], offset * 4))
  return gated(c, half(0), half(facts.feedForward))
}
