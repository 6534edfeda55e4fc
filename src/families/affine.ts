import type { Graph, Tensor } from '../ggml/graph.js'
import type { LayerContext, Weights } from './family.js'

/** A block's product with its bias. */
export function linear(g: Graph, x: Tensor, c: LayerContext, name: string): Tensor {
  const block = `blk.${c.layer}.${name}`
  return g.add(g.mulMat(c.weights.get(`${block}.weight`), x), c.weights.get(`${block}.bias`))
}

/** LayerNorm with its weight and bias. */
export function norm(g: Graph, x: Tensor, weights: Weights, name: string, epsilon: number): Tensor {
  return g.add(g.mul(g.norm(x, epsilon), weights.get(`${name}.weight`)), weights.get(`${name}.bias`))
}

/** A block's LayerNorm. */
export function blockNorm(g: Graph, x: Tensor, c: LayerContext, name: string): Tensor {
  return norm(g, x, c.weights, `blk.${c.layer}.${name}`, c.hyperparameters.normEpsilon)
}
