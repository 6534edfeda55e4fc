import { allLayers } from '../depth/plan.js'
import type { Policy } from '../depth/policy.js'
import { InputError } from '../errors.js'
import { abortedError } from './aborted.js'
import type { Score, ScoreOptions } from './api.js'
import type { Engine } from './engine.js'
import type { StepResult } from './step.js'
import { startDepth } from './token-depth.js'

/** Feeds the tokens after the prompt one by one under a policy and keeps what the model says after each. */
export async function score(
  engine: Engine,
  vocabulary: number,
  ids: readonly number[],
  policy: Policy,
  options: Omit<ScoreOptions, 'depth'>,
): Promise<Score> {
  const { promptLength: p, signal, onProgress } = options
  if (!Number.isSafeInteger(p) || p < 1 || p > ids.length) {
    throw new InputError(`the prompt length must be from 1 to ${ids.length}, the number of tokens`)
  }
  const n = ids.length - p
  const logits = new Float32Array(n * vocabulary)
  const depth = new Int32Array(n)
  const sequence = engine.createSequence()
  try {
    const feed = async (
      tokens: readonly number[],
      next: Parameters<Engine['step']>[0][number]['depth'],
    ): Promise<StepResult> => {
      if (signal?.aborted) throw abortedError(signal.reason)
      const [outcome] = await engine.step([{ sequence, ids: tokens, depth: next, signal }])
      if (outcome === undefined || 'error' in outcome) throw outcome?.error
      return outcome.result
    }
    const run = startDepth(policy, { layers: engine.layers, promptTokens: p, maxTokens: Math.max(1, n) })
    const planned = policy.kind === 'skip' && policy.prompt === 'plan'
    let result = await feed(
      ids.slice(0, p),
      planned ? run.next(p - 1, 0) : { kind: 'plan', layers: allLayers(engine.layers) },
    )
    run.observePrompt(result.logits)
    let loss = 0
    for (let i = 0; i < n; i++) {
      const id = ids[p + i] as number
      loss += result.logSumExp - (result.logits[id] as number)
      result = await feed([id], run.next(p + i, i + 1))
      logits.set(result.logits, i * vocabulary)
      depth[i] = result.depth
      onProgress?.(i + 1, n)
    }
    const mean = n === 0 ? Number.NaN : loss / n
    const meanDepth = n === 0 ? Number.NaN : depth.reduce((a, b) => a + b, 0) / n
    return { logits, depth, loss: mean, perplexity: Math.exp(mean), meanDepth }
  } finally {
    sequence.dispose()
  }
}
