import { allLayers } from '../../depth/plan.js'
import type { Policy } from '../../depth/policy.js'
import { InputError } from '../../errors.js'
import type { Score, ScoreOptions } from '../known-text.js'
import { startDepth } from '../plan/token-depth.js'
import { abortedError } from '../run/aborted.js'
import type { Engine } from '../run/engine.js'
import type { StepResult } from '../run/step.js'

export interface ScoreParts {
  /** V */
  readonly vocabulary: number
  /** Tokens of a window at most. */
  readonly context: number
  /** Runs a window; other work of the model takes its turn between two of them. */
  alone<T>(action: (engine: Engine) => Promise<T>): Promise<T>
}

/** A run of tokens with those before it that are its prompt. */
interface Window {
  readonly from: number
  /** Tokens of the prompt. */
  readonly promptLength: number
  readonly to: number
}

/**
 * Feeds the tokens after the prompt one by one under a policy and keeps what the model says after each. A text that is
 * longer than the context goes in strided windows, as the perplexity of transformers' documentation is measured: window k
 * holds the tokens from k * stride on, and only those count that no window before it has scored.
 */
export async function score(
  parts: ScoreParts,
  ids: readonly number[],
  policy: Policy,
  options: Omit<ScoreOptions, 'depth'>,
): Promise<Score> {
  const { promptLength: p, onProgress, signal } = options
  const windows = windowsOf(ids.length, parts.context, options)
  const n = ids.length - p
  const scored: Scored = {
    logits: options.logits === false ? null : new Float32Array(n * parts.vocabulary),
    depth: new Int32Array(n),
    fed: 0,
    loss: 0,
    ...(signal === undefined ? {} : { signal }),
    onFed: (fed) => onProgress?.(fed, n),
  }
  for (const { from, promptLength, to } of windows) {
    await parts.alone((engine) => feedWindow(engine, ids.slice(from, to), promptLength, policy, scored))
  }
  const mean = n === 0 ? Number.NaN : scored.loss / n
  const meanDepth = n === 0 ? Number.NaN : scored.depth.reduce((a, b) => a + b, 0) / n
  return {
    logits: scored.logits ?? new Float32Array(0),
    depth: scored.depth,
    loss: mean,
    perplexity: Math.exp(mean),
    meanDepth,
    windows: windows.length,
  }
}

function windowsOf(
  length: number,
  context: number,
  { promptLength, stride }: Pick<ScoreOptions, 'promptLength' | 'stride'>,
): Window[] {
  const most = Math.min(length, context)
  if (!Number.isSafeInteger(promptLength) || promptLength < 1 || promptLength > most) {
    throw new InputError(
      `the prompt length must be from 1 to ${most}, the number of tokens${length > context ? ' that the context holds' : ''}`,
    )
  }
  if (stride !== undefined && !(Number.isSafeInteger(stride) && stride >= 1 && stride < context)) {
    throw new InputError(`the stride must be a whole number from 1 to ${context - 1}, one less than the context`)
  }
  const windows: Window[] = [{ from: 0, promptLength, to: most }]
  // A text that fits the context has one window, whatever the stride.
  for (let from = stride ?? 0, before = most; before < length; from += stride as number) {
    const to = Math.min(from + context, length)
    windows.push({ from, promptLength: before - from, to })
    before = to
  }
  return windows
}

/** What the windows add up to. */
interface Scored {
  /** [n, V] or null where they are not kept. */
  readonly logits: Float32Array | null
  readonly depth: Int32Array
  fed: number
  /** Summed negative log-likelihood in nats. */
  loss: number
  readonly signal?: AbortSignal
  onFed(fed: number): void
}

async function feedWindow(
  engine: Engine,
  ids: readonly number[],
  p: number,
  policy: Policy,
  scored: Scored,
): Promise<void> {
  const n = ids.length - p
  const { signal } = scored
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
    for (let i = 0; i < n; i++) {
      const id = ids[p + i] as number
      scored.loss += result.logSumExp - (result.logits[id] as number)
      result = await feed([id], run.next(p + i, i + 1))
      scored.logits?.set(result.logits, scored.fed * result.logits.length)
      scored.depth[scored.fed] = result.depth
      scored.fed++
      scored.onFed(scored.fed)
    }
  } finally {
    sequence.dispose()
  }
}
