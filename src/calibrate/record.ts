import type { Bridge } from '../depth/bridge.js'
import { FEATURE_NAMES, type FeatureName, HEAD_FEATURES, type LastCheck, readFeatures } from '../depth/exit-features.js'
import { features } from '../depth/features.js'
import type { ExitPolicy } from '../depth/policy.js'
import type { Model } from '../engine/api.js'

/** Everything that exit checks of a full-depth run show of one position; L entries each. */
export interface PositionTrace {
  readonly top1: Int32Array
  readonly top2: Int32Array
  /** What a cut-down check head says instead of the whole one; null without one. */
  readonly cut: CutDown | null
  readonly features: Readonly<Record<FeatureName, Float64Array>>
}

/** The best of a cut-down check head's tokens, and the features of their softmax; L entries each. */
export interface CutDown {
  readonly top: Int32Array
  readonly features: Readonly<Record<(typeof HEAD_FEATURES)[number], Float64Array>>
}

interface Recording extends LastCheck {
  readonly trace: PositionTrace
  readonly x: Float64Array
}

/** How layers are read. */
export interface RecordOptions {
  /** A check head of these tokens is recorded beside the whole one. */
  readonly checkTokens?: readonly number[] | null
  readonly lens?: readonly Bridge[]
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
  { checkTokens = null, lens }: RecordOptions = {},
): Promise<PositionTrace[]> {
  const traces: PositionTrace[] = []
  await model.predict(ids, {
    depth: {
      ...recorder(model.hyperparameters.layers, checkTokens, (trace) => traces.push(trace)),
      ...(lens === undefined ? {} : { lens }),
    },
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
      const columns = <Name extends string>(names: readonly Name[]) =>
        Object.fromEntries(names.map((name) => [name, new Float64Array(layers)])) as Record<Name, Float64Array>
      const trace: PositionTrace = {
        top1: new Int32Array(layers),
        top2: new Int32Array(layers),
        cut: checkTokens === null ? null : { top: new Int32Array(layers), features: columns(HEAD_FEATURES) },
        features: columns(FEATURE_NAMES),
      }
      keep(trace)
      return { trace, x: new Float64Array(FEATURE_NAMES.length), layer: -1, attention: null, mlp: null }
    },
    exits(check, token) {
      const { trace, x } = token
      const { layer } = check
      readFeatures(FEATURE_NAMES, check, token, x)
      if (trace.cut !== null) {
        const { top, topProb, gap, entropy } = features(Float32Array.from(checkTokens!, (id) => check.logits[id]!))
        trace.cut.top[layer] = checkTokens![top]!
        trace.cut.features.gap[layer] = gap
        trace.cut.features.top_prob[layer] = topProb
        trace.cut.features.entropy[layer] = entropy
      }
      for (const [i, name] of FEATURE_NAMES.entries()) trace.features[name][layer] = x[i] as number
      trace.top1[layer] = check.top
      trace.top2[layer] = check.second
      return false
    },
  }
}
