import type { Depth, Model } from '../../engine/api.js'

/** What one window of a text gave. */
export interface WindowScore {
  /** Negative log-likelihood of the scored tokens, in nats, all together. */
  readonly loss: number
  /** Sum of the depths of the scored tokens. */
  readonly depth: number
  /** The most probable token after each fed one. [n] */
  readonly tops: readonly number[]
}

/** Feeds a window under a policy; the first `promptLength` tokens run at full depth. */
export async function scoreWindow(
  model: Model,
  ids: readonly number[],
  depth: Depth,
  options: { readonly promptLength: number; readonly signal?: AbortSignal },
): Promise<WindowScore> {
  const score = await model.score(ids, { ...options, depth })
  const n = score.depth.length
  const { vocabulary } = model.hyperparameters
  const tops = Array.from({ length: n }, (_, i) => argmax(score.logits.subarray(i * vocabulary, (i + 1) * vocabulary)))
  return { loss: score.loss * n, depth: score.depth.reduce((sum, d) => sum + d, 0), tops }
}

function argmax(values: Float32Array): number {
  let best = 0
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i
  return best
}
