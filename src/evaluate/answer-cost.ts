import type { Policy } from '../depth/policy.js'
import { checkFlops, headFlops, layerFlops, type ModelSize } from './cost.js'

/** FLOPs of an answer: the prompt's rows through the layers, the head once, and exit checks of the last row. */
export interface AnswerFlops {
  readonly flops: number
  readonly flopsWithChecks: number
}

/**
 * @param layers layers that ran, in order
 * @param policy null for controls that check nothing
 */
export function answerFlops(
  size: ModelSize,
  promptTokens: number,
  layers: readonly number[],
  policy: Policy | null,
): AnswerFlops {
  let flops = headFlops(size)
  for (const layer of layers) {
    // Position p attends to p + 1 positions.
    flops += promptTokens * layerFlops(size, layer, (promptTokens + 1) / 2)
  }
  if (policy === null || policy.kind === 'skip') return { flops, flopsWithChecks: flops }
  const deepest = layers.at(-1) ?? 0
  const checks = policy.checkLayers(size.layers).filter((layer) => layer <= deepest)
  const { checkTokens } = policy
  if (checkTokens !== undefined) {
    return { flops, flopsWithChecks: flops + checks.length * checkFlops(size, checkTokens.length) }
  }
  // The check that let the token leave is also its head.
  const asHead = checks.includes(deepest) && deepest < size.layers - 1 ? 1 : 0
  return { flops, flopsWithChecks: flops + checks.length * checkFlops(size) - asHead * headFlops(size) }
}
