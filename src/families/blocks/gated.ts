import type { Tensor } from '../../ggml/tensor.js'
import type { Activation, LayerContext } from '../family.js'

/** The activation of the gate times what it lets through. */
export function gated(c: LayerContext, gate: Tensor, up: Tensor): Tensor {
  const { g } = c
  const activation = activationOf(c)
  if (activation === 'silu') return g.swiglu(gate, up)
  if (activation === 'swiglu-oai') return g.swigluOai(gate, up)
  if (activation === 'gelu-tanh' && isRounded(c)) return g.geglu(gate, up)
  return g.mul(activate(c, gate), up)
}

export function activate(c: LayerContext, x: Tensor): Tensor {
  const { g, h, layer } = c
  switch (activationOf(c)) {
    case 'silu':
    case 'swiglu-oai':
      return g.silu(x)
    case 'gelu':
      return g.geluErf(x)
    case 'gelu-tanh':
      return isRounded(c) ? g.geluTable(x) : g.gelu(x)
    case 'relu':
      return g.relu(x)
    case 'relu2':
      return g.square(g.relu(x))
    case 'xielu': {
      const { xieluAlphaN, xieluAlphaP, xieluBeta, xieluEps } = h.facts
      const of = (list: readonly number[] | undefined): number => list?.[layer] as number
      return g.xielu(x, { alphaN: of(xieluAlphaN), alphaP: of(xieluAlphaP), beta: of(xieluBeta), eps: of(xieluEps) })
    }
  }
}

export function activationOf({ h, family: { activation } }: LayerContext): Activation {
  if (h.facts.otherGelu !== true) return activation
  return activation === 'gelu' ? 'gelu-tanh' : 'gelu'
}

/**
 * True where what the activation gives is rounded to half precision or less before it is multiplied: then GELU may come from
 * ggml's table in half precision, as in llama.cpp, and takes one operation instead of five.
 */
export function isRounded({ weights, layer }: LayerContext): boolean {
  return weights.optional(`blk.${layer}.ffn_down.weight`)?.type !== 'f32'
}
