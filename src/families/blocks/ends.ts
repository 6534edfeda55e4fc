import type { Tensor } from '../../ggml/graph.js'
import type { BlockContext } from '../family.js'
import type { Hyperparameters } from '../hyperparameters.js'
import { product } from './linear.js'
import { norm } from './norm.js'

/** Embeddings of tokens, and of positions where the model has them: i32 [rows] -> [H, rows]. */
export function embed(c: BlockContext, ids: Tensor, positions: Tensor): Tensor {
  const { g, h, weights } = c
  const { embeddingScale, learnedPositions } = h.facts
  const tokens = g.getRows(weights.rows('token_embd.weight'), ids)
  const wide = weights.optional('token_embd_proj.weight') === null ? tokens : product(c, 'token_embd_proj', tokens)
  const scaled = embeddingScale === undefined ? wide : g.scale(wide, embeddingScale)
  const placed =
    learnedPositions === undefined ? scaled : g.add(scaled, g.getRows(weights.rows('position_embd.weight'), positions))
  return weights.optional('token_embd_norm.weight') === null ? placed : norm(c, 'token_embd_norm', placed)
}

/** Name of the LM head's matrix [V, ..], the token embedding where it is tied. */
export function headMatrix({ tiedEmbeddings }: Hyperparameters): string {
  return tiedEmbeddings ? 'token_embd.weight' : 'output.weight'
}

/** Final norm, where the model has one, LM head, and what is done to logits. [H, rows] -> [V, rows] */
export function head(c: BlockContext, x: Tensor): Tensor {
  const { g, h, weights } = c
  const { logitScale, logitDivisor, logitSoftcap } = h.facts
  const normed = h.facts.finalNorm === false ? x : norm(c, 'output_norm', x)
  const narrow = weights.optional('output_proj.weight') === null ? normed : product(c, 'output_proj', normed)
  const logits = product(c, headMatrix(h).replace(/\.weight$/, ''), narrow)
  const factor = (logitScale ?? 1) / (logitDivisor ?? 1)
  const scaled = factor === 1 ? logits : g.scale(logits, factor)
  return logitSoftcap === undefined ? scaled : softcap(c, scaled, logitSoftcap)
}

function softcap({ g }: BlockContext, x: Tensor, cap: number): Tensor {
  return g.scale(g.tanh(g.scale(x, 1 / cap)), cap)
}
