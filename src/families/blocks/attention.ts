import type { Tensor } from '../../ggml/graph.js'
import type { LayerContext } from '../family.js'
import { magnitudeOf } from '../rope.js'
import { linear } from './linear.js'
import { hasNorm, layerNorm } from './norm.js'

/** Attention of a layer with everything that families have in it. x [H, rows] -> [H, queries] */
export function attention(c: LayerContext, x: Tensor): Tensor {
  const { g, h, weights, facts } = c
  const { attentionScale, attentionSoftcap } = h.facts
  const [q, k, v] = project(c, x)
  const rows = k.shape[1]
  const scale = attentionScale ?? 1 / Math.sqrt(h.headDim)
  const { scalesQueries = false } = c.family
  const queries = temper(c, prepare(c, 'attn_q_norm', q, facts.heads, c.queryPositions))
  const attended = c.attend(
    scalesQueries ? g.scale(queries, scale) : queries,
    prepare(c, 'attn_k_norm', k, facts.kvHeads, c.positions),
    g.reshape(clamp(c, v), h.headDim, facts.kvHeads, rows),
    {
      scale: scalesQueries ? 1 : scale,
      softcap: attentionSoftcap,
      sinks: weights.optional(`blk.${c.layer}.attn_sinks.weight`),
    },
  )
  return linear(c, 'attn_output', attended)
}

/** Queries of the rows that are wanted, keys and values of all. */
function project(c: LayerContext, x: Tensor): [Tensor, Tensor, Tensor] {
  const { g, h, facts } = c
  if (h.facts.fusedQkv !== true) {
    return [linear(c, 'attn_q', c.narrow(x)), linear(c, 'attn_k', x), linear(c, 'attn_v', x)]
  }
  const fused = linear(c, 'attn_qkv', x)
  const [q, kv] = [facts.heads * h.headDim, facts.kvHeads * h.headDim]
  const part = (width: number, offset: number): Tensor =>
    g.contiguous(g.view(fused, [width, fused.shape[1], 1], [fused.strides[1], fused.bytes], offset * 4))
  return [c.narrow(part(q, 0)), part(kv, q), part(kv, q + kv)]
}

function clamp({ g, h }: LayerContext, x: Tensor): Tensor {
  const { clampQkv } = h.facts
  return clampQkv === undefined ? x : g.clamp(x, -clampQkv, clampQkv)
}

/** Heads of queries or keys, normed and rotated. [headDim * heads, n] -> [headDim, heads, n] */
function prepare(c: LayerContext, norm: string, x: Tensor, heads: number, positions: Tensor): Tensor {
  const { g, h, weights } = c
  const whole = weights.optional(`blk.${c.layer}.${norm}.weight`)?.elements === heads * h.headDim
  const split = (t: Tensor): Tensor => g.reshape(clamp(c, t), h.headDim, heads, t.elements / heads / h.headDim)
  // One weight for all heads together norms them as one row; a weight of a head's length, or one for each head, each head.
  const together = whole && c.family.norm === 'rms' && heads > 1
  const normed = (t: Tensor): Tensor => (hasNorm(c, norm) ? layerNorm(c, norm, t) : t)
  if (together) return rotate(c, split(normed(x)), positions)
  return c.family.ropeBeforeNorm === true
    ? normed(rotate(c, split(x), positions))
    : rotate(c, normed(split(x)), positions)
}

function rotate({ g, h, family, weights, facts }: LayerContext, x: Tensor, positions: Tensor): Tensor {
  if (facts.rope === null || h.ropes === null || family.rope === null) return x
  const rope = h.ropes[facts.rope]
  return g.rope(
    x,
    positions,
    { dimensions: rope.dimensions, pairs: family.rope.pairs, base: rope.base, magnitude: magnitudeOf(rope) },
    weights.optional(`rope_factors.${facts.rope}`),
  )
}

/** Queries grow with the logarithm of their position beyond the original context. Source: Llama 4, as Ministral 3 has it. */
function temper(c: LayerContext, q: Tensor): Tensor {
  const { g, h } = c
  const { temperatureScale } = h.facts
  const scaling = h.ropes?.full.scaling
  if (temperatureScale === undefined || scaling?.type !== 'yarn') return q
  const { original } = scaling
  const scale = c.perQuery('temperature', (p) => 1 + temperatureScale * Math.log(1 + Math.floor(p / original)))
  return g.mul(q, scale)
}
