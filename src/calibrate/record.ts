import { FEATURE_NAMES, type FeatureName, type LastCheck, readFeatures } from '../depth/exit-features.js'
import { features } from '../depth/features.js'
import type { Check, ExitPolicy } from '../depth/policy.js'
import type { Model } from '../engine/api.js'

/** Everything that exit checks of a full-depth run show of one position; L entries each. */
export interface PositionTrace {
  readonly top1: Int32Array
  readonly top2: Int32Array
  /** The best of a cut-down check head's tokens, which then gap, top_prob and entropy are of too; null without one. */
  readonly checkTop: Int32Array | null
  readonly features: Readonly<Record<FeatureName, Float64Array>>
}

interface Recording extends LastCheck {
  readonly trace: PositionTrace
  readonly x: Float64Array
}

/**
 * Runs a prompt, and a continuation token by token, at full depth and records every layer at the last position of each
 * pass: the prompt's own first, then one after each token of the continuation.
 */
export async function recordPositions(
  model: Model,
  ids: readonly number[],
  continuation: readonly number[] = [],
  signal?: AbortSignal,
  checkTokens: readonly number[] | null = null,
): Promise<PositionTrace[]> {
  const traces: PositionTrace[] = []
  await model.predict(ids, {
    depth: recorder(model.hyperparameters.layers, checkTokens, (trace) => traces.push(trace)),
    continuation,
    ...(signal === undefined ? {} : { signal }),
  })
  return traces
}

/** A policy that never exits and keeps what it sees. */
function recorder(
  layers: number,
  checkTokens: readonly number[] | null,
  keep: (trace: PositionTrace) => void,
): ExitPolicy<undefined, Recording> {
  return {
    kind: 'exit',
    spec: 'full',
    needs: { logits: true, hidden: true, sublayers: true },
    observesLast: true,
    checkLayers: () => Array.from({ length: layers }, (_, l) => l),
    startToken() {
      const trace: PositionTrace = {
        top1: new Int32Array(layers),
        top2: new Int32Array(layers),
        checkTop: checkTokens === null ? null : new Int32Array(layers),
        features: Object.fromEntries(FEATURE_NAMES.map((name) => [name, new Float64Array(layers)])) as Record<
          FeatureName,
          Float64Array
        >,
      }
      keep(trace)
      return { trace, x: new Float64Array(FEATURE_NAMES.length), layer: -1, attention: null, mlp: null }
    },
    exits(check, token) {
      const { trace, x } = token
      const seen = checkTokens === null ? check : cutDown(check, checkTokens)
      readFeatures(FEATURE_NAMES, seen, token, x)
      if (trace.checkTop !== null) trace.checkTop[check.layer] = seen.top
      for (const [i, name] of FEATURE_NAMES.entries()) trace.features[name][check.layer] = x[i] as number
      trace.top1[check.layer] = check.top
      trace.top2[check.layer] = check.second
      return false
    },
  }
}

/** The check as a head of these tokens alone gives it. */
function cutDown(check: Check, tokens: readonly number[]): Check {
  const { top, second, topProb, gap, entropy } = features(Float32Array.from(tokens, (id) => check.logits[id]!))
  const { layer, logits, hidden, input, attention, mlp } = check
  return {
    layer,
    top: tokens[top]!,
    second: tokens[second]!,
    topProb,
    gap,
    entropy,
    logits,
    hidden,
    input,
    attention,
    mlp,
  }
}
