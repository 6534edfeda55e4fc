import type { Family } from './family.js'
import type { Hyperparameters } from './hyperparameters.js'

/** What may stand between a layer's down projection and the residual stream, by llama.cpp's name. */
const NORMS_AFTER: Readonly<Record<string, string>> = {
  post_ffw_norm: 'a norm stands between its MLP and the residual stream',
  layer_output_norm: 'a norm follows the sum with its MLP',
}

/** The matrix [H, F] whose output a layer adds to the residual stream. */
export interface DownProjection {
  /** Name in the GGUF file. */
  readonly weight: string
  /** Name of its bias [H]; null where it has none. */
  readonly bias: string | null
}

/**
 * The down projection of a layer, into which a linear map of its MLP's output goes without a remainder; a string where there is
 * none, which says why.
 */
export function downProjection(family: Family, h: Hyperparameters, layer: number): DownProjection | string {
  if (h.layer[layer]?.routed === true) return 'its MLP is made of experts'
  const prefix = `blk.${layer}.`
  const names = new Set(family.tensors(h).map(({ name }) => name))
  const norm = Object.keys(NORMS_AFTER).find((name) => names.has(`${prefix}${name}.weight`))
  if (norm !== undefined) return NORMS_AFTER[norm] as string
  const weight = `${prefix}ffn_down.weight`
  if (!names.has(weight)) return 'its MLP has no down projection'
  const bias = `${prefix}ffn_down.bias`
  return { weight, bias: names.has(bias) ? bias : null }
}
