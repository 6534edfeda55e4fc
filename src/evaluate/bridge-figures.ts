import { type Bridge, bridgesOf } from '../depth/bridge.js'
import { allLayers, type Plan } from '../depth/plan.js'
import type { Model } from '../engine/api.js'
import type { ForcedText } from '../engine/known-text.js'
import { type Interval, ratioBootstrap } from './bootstrap.js'

/** What a plan adds to the loss of texts, without and with its bridges. Nats per token, intervals of 95% over texts. */
export interface BridgeQuality {
  readonly texts: number
  readonly tokens: number
  /** Loss at full depth. */
  readonly full: number
  readonly plain: Interval
  readonly bridged: Interval
  /** Bridged - plain, paired. */
  readonly difference: Interval
}

/** Measures bridges on texts that had no part in their fit. */
export async function bridgeQuality(
  model: Model,
  texts: readonly ForcedText[],
  plan: Plan,
  bridges: readonly Bridge[],
  { prompt, signal }: { readonly prompt: 'full' | 'plan'; readonly signal?: AbortSignal },
): Promise<BridgeQuality> {
  const { layers } = model.hyperparameters
  const losses = model.planLosses(texts, { prompt })
  try {
    const stop = signal === undefined ? {} : { signal }
    const full = await losses.of(allLayers(layers), stop)
    const plain = await losses.of(plan, stop)
    const bridged = await losses.of(plan, { bridges: bridgesOf(bridges, plan, layers), ...stop })
    const tokens = texts.map(({ ids, promptLength }) => ids.length - promptLength)
    const total = tokens.reduce((sum, n) => sum + n, 0)
    const minus = (a: Float64Array, b: Float64Array): Interval =>
      ratioBootstrap(
        a.map((x, i) => x - (b[i] as number)),
        tokens,
      )
    return {
      texts: texts.length,
      tokens: total,
      full: full.reduce((sum, x) => sum + x, 0) / total,
      plain: minus(plain, full),
      bridged: minus(bridged, full),
      difference: minus(bridged, plain),
    }
  } finally {
    await losses.dispose()
  }
}
