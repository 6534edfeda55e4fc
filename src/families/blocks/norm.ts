import type { Tensor } from '../../ggml/graph.js'
import type { BlockContext, LayerContext } from '../family.js'

/** A layer's norm, RMSNorm or LayerNorm as the family has it, with the weight and bias that it has. */
export function layerNorm(c: LayerContext, name: string, x: Tensor): Tensor {
  return norm(c, `blk.${c.layer}.${name}`, x)
}

/** The same by the tensor's full name. */
export function norm({ g, h, family, weights }: BlockContext, name: string, x: Tensor): Tensor {
  const normed = family.norm === 'rms' ? g.rmsNorm(x, h.normEpsilon) : g.norm(x, h.normEpsilon)
  const weight = weights.optional(`${name}.weight`)
  const bias = weights.optional(`${name}.bias`)
  const scaled = weight === null ? normed : g.mul(normed, weight)
  return bias === null ? scaled : g.add(scaled, bias)
}

/** True where the layer has this norm. */
export function hasNorm({ weights, layer }: LayerContext, name: string): boolean {
  return weights.optional(`blk.${layer}.${name}.weight`) !== null
}
