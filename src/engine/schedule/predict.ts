import type { Policy } from '../../depth/policy.js'
import type { Prediction, PredictOptions } from '../known-text.js'
import { startDepth } from '../plan/token-depth.js'
import { abortedError } from '../run/aborted.js'
import type { Engine } from '../run/engine.js'
import type { StepResult } from '../run/step.js'

/** Runs a prompt's own pass under a policy, then feeds a given continuation token by token under it. */
export async function predict(
  engine: Engine,
  ids: readonly number[],
  policy: Policy,
  { continuation = [], signal }: Omit<PredictOptions, 'depth'>,
): Promise<Prediction> {
  const run = startDepth(policy, {
    layers: engine.layers,
    promptTokens: ids.length,
    maxTokens: continuation.length + 1,
  })
  const sequence = engine.createSequence()
  const results: StepResult[] = []
  const started = performance.now()
  try {
    for (let i = 0; i <= continuation.length; i++) {
      if (signal?.aborted) throw abortedError(signal.reason)
      const feed = i === 0 ? ids : [continuation[i - 1] as number]
      const depth = run.next(ids.length - 1 + i, i)
      const [outcome] = await engine.step([{ sequence, ids: feed, depth, signal }])
      if (outcome === undefined || 'error' in outcome) throw outcome?.error
      if (i === 0) run.observePrompt(outcome.result.logits)
      results.push({ ...outcome.result, logits: outcome.result.logits.slice() })
    }
  } finally {
    sequence.dispose()
  }
  const first = results[0] as StepResult
  return {
    logits: results.map((r) => r.logits),
    top: first.top,
    depth: first.depth,
    depths: results.map((r) => r.depth),
    rowLayers: results.reduce((sum, r) => sum + r.rowLayers, 0),
    checkMs: results.reduce((sum, r) => sum + r.checkMs, 0),
    ms: performance.now() - started,
  }
}
