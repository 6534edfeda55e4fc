import type { Tensor } from '../../ggml/graph.js'
import type { LayerContext } from '../family.js'
import type { Experts } from '../hyperparameters.js'
import { gated } from './gated.js'
import { linear } from './linear.js'

/** Below this a sum of weights is not divided by. Source: llama.cpp, the smallest normal number of half precision. */
const LEAST_SUM = 6.103515625e-5

/** The experts that a router chooses for each row, weighed, and the one that all rows share where there is one. */
export function experts(c: LayerContext, x: Tensor): Tensor {
  const { g, h, weights, layer } = c
  const { used } = h.experts as Experts
  const rows = x.shape[1]
  const { ids, shares } = route(c, x, used)
  const each = g.reshape(x, x.shape[0], 1, rows)
  const inner = gated(c, ...gateAndUp(c, each, ids))
  const outputs = g.mul(byExpert(c, 'ffn_down_exps', inner, ids), shares)
  const sum = addUp(c, outputs, used)
  if (weights.optional(`blk.${layer}.ffn_up_shexp.weight`) === null) return sum
  return g.add(sum, shared(c, x))
}

/** Which experts each row uses, i32 [used, rows], and what each of them counts, f32 [1, used, rows]. */
function route(c: LayerContext, x: Tensor, used: number): { ids: Tensor; shares: Tensor } {
  const { g, h, family } = c
  const { count } = h.experts as Experts
  const rows = x.shape[1]
  const scores = linear(c, 'ffn_gate_inp', x)
  const probabilities = family.gating === 'chosen' ? scores : g.softMax(scores)
  const ids = g.topK(probabilities, used)
  const chosen = g.reshape(g.getRows(g.reshape(probabilities, 1, count, rows), ids), used, rows)
  const weighed = family.gating === 'chosen' ? g.softMax(chosen) : chosen
  const normalized =
    h.facts.normalizeExperts === true && family.gating !== 'chosen'
      ? g.div(weighed, g.clamp(g.sumRows(weighed), LEAST_SUM, Number.POSITIVE_INFINITY))
      : weighed
  return { ids, shares: g.reshape(normalized, 1, used, rows) }
}

/** Products of each row with the matrices of its experts. x [columns, 1 or used, rows] -> [height, used, rows] */
function byExpert(c: LayerContext, name: string, x: Tensor, ids: Tensor): Tensor {
  const { g, weights, layer } = c
  const block = `blk.${layer}.${name}`
  const y = g.mulMatId(weights.get(`${block}.weight`), x, ids)
  const scale = weights.optional(`${block}.scale`)
  const bias = weights.optional(`${block}.bias`)
  const scaled = scale === null ? y : g.mul(y, perExpert(c, scale, ids))
  return bias === null ? scaled : g.addId(scaled, bias, ids)
}

/** Of matrices that have both, the gate first. */
function gateAndUp(c: LayerContext, x: Tensor, ids: Tensor): [Tensor, Tensor] {
  const { g, h } = c
  if (h.facts.fusedExperts !== true) return [byExpert(c, 'ffn_gate_exps', x, ids), byExpert(c, 'ffn_up_exps', x, ids)]
  const both = byExpert(c, 'ffn_gate_up_exps', x, ids)
  const [width, used, rows] = both.shape
  const half = (first: number): Tensor =>
    g.contiguous(g.view(both, [width / 2, used, rows], [both.strides[1], both.strides[2]], first * 4))
  return [half(0), half(width / 2)]
}

/** A factor for each expert, [experts], as each row's experts have it: [1, used, rows]. */
function perExpert({ g }: LayerContext, factors: Tensor, ids: Tensor): Tensor {
  const [used, rows] = ids.shape
  const flat = g.reshape(g.contiguous(ids), used * rows)
  return g.reshape(g.getRows(g.reshape(factors, 1, factors.elements), flat), 1, used, rows)
}

function addUp({ g }: LayerContext, outputs: Tensor, used: number): Tensor {
  const [width, , rows] = outputs.shape
  const of = (i: number): Tensor =>
    g.view(outputs, [width, rows, 1], [outputs.strides[2], outputs.bytes], i * outputs.strides[1])
  let sum = g.contiguous(of(0))
  for (let i = 1; i < used; i++) sum = g.add(sum, of(i))
  return sum
}

function shared(c: LayerContext, x: Tensor): Tensor {
  const { g, weights, layer } = c
  const output = linear(c, 'ffn_down_shexp', gated(c, linear(c, 'ffn_gate_shexp', x), linear(c, 'ffn_up_shexp', x)))
  const gate = weights.optional(`blk.${layer}.ffn_gate_inp_shexp.weight`)
  if (gate === null) return output
  return g.mul(output, g.sigmoid(g.mulMat(g.reshape(gate, gate.elements, 1), x)))
}
