import type { Tensor } from '../../ggml/graph.js'
import type { BlockContext, LayerContext } from '../family.js'

/** A product with its bias, where it has one; of a layer where `c` is one. x [columns, rows] -> [rows of the matrix, rows] */
export function linear(c: LayerContext, name: string, x: Tensor): Tensor {
  return product(c, `blk.${c.layer}.${name}`, x)
}

/** The same by the tensor's full name. */
export function product({ g, weights }: BlockContext, name: string, x: Tensor): Tensor {
  const scale = weights.optional(`${name}.scale`)
  const plain = g.mulMat(weights.get(`${name}.weight`), x)
  // NVFP4 keeps one factor for a whole matrix beside it.
  const y = scale === null ? plain : g.mul(plain, scale)
  const bias = weights.optional(`${name}.bias`)
  return bias === null ? y : g.add(y, bias)
}
