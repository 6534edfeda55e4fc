import type { Plan } from '../../depth/plan.js'
import type { TargetSpeedup } from '../../depth/policy.js'
import type {
  FinishReason,
  GeneratedToken,
  Generation,
  GenerationResult,
  LosslessResult,
  SamplingSettings,
  Speedup,
} from '../api.js'
import { onAbort } from '../run/aborted.js'
import type { GenerationRequest } from './generation-request.js'
import type { DraftCounts } from './lossless.js'

/** What is known of a generation once it has its policy. */
export interface GenerationStart {
  /** Canonical SPEC. */
  readonly spec: string
  /** The plan of every token, where it is one and the same. */
  readonly plan: Plan | null
  /** Where the plan was chosen for a speedup in time that holds here. */
  readonly speedup: TargetSpeedup | null
}

/** What a generation has taken so far. */
export interface GenerationProgress {
  readonly reusedTokens: number
  /** Tokens of the prompt that were fed. */
  readonly fedPrompt: number
  readonly rowLayers: number
  readonly layerPasses: number
  readonly rowsWaiting: number
  readonly checkMs: number
  readonly prefillMs: number
  readonly decodeMs: number
  readonly finishReason: FinishReason | null
  readonly drafts: DraftCounts | null
}

/** Takes what comes of a generation, as plain data and in order: first `begun`, last `ended`. */
export interface GenerationSink {
  begun(start: GenerationStart): void
  said(tokens: readonly GeneratedToken[], progress: GenerationProgress): void
  /** @param error why it failed; nothing where it has its result */
  ended(error?: unknown): void
}

const NOTHING: GenerationProgress = {
  reusedTokens: 0,
  fedPrompt: 0,
  rowLayers: 0,
  layerPasses: 0,
  rowsWaiting: 0,
  checkMs: 0,
  prefillMs: 0,
  decodeMs: 0,
  finishReason: null,
  drafts: null,
}

/** The caller's side of a generation: tokens as they come, and what they come to. */
export class GenerationStream implements Generation, GenerationSink {
  readonly result: Promise<GenerationResult>
  private start: GenerationStart | null = null
  private progress = NOTHING
  private readonly tokens: GeneratedToken[] = []
  private text = ''
  private error: unknown = null
  private over = false
  private readonly stop = new AbortController()
  private readonly stopListening: () => void
  private notify: () => void = () => {}
  private changed = new Promise<void>(() => {})
  private settle: (outcome: { value: GenerationResult } | { error: unknown }) => void = () => {}

  /** @param spec what was asked for, until a policy is there to say it canonically */
  constructor(
    private readonly request: GenerationRequest,
    private readonly spec: string,
    private readonly layers: number,
    readonly warnings: readonly string[] = [],
    signal?: AbortSignal,
  ) {
    this.result = new Promise((resolve, reject) => {
      this.settle = (outcome) => ('error' in outcome ? reject(outcome.error) : resolve(outcome.value))
    })
    // Whoever only iterates learns of an error there.
    this.result.catch(() => {})
    if (signal?.aborted) this.stop.abort(signal.reason)
    this.stopListening = onAbort(signal, () => this.stop.abort(signal?.reason))
    this.renew()
  }

  /** Aborted where the caller wants no more: by its own signal, or because it has left the iteration. */
  get signal(): AbortSignal {
    return this.stop.signal
  }

  begun(start: GenerationStart): void {
    this.start = start
  }

  said(tokens: readonly GeneratedToken[], progress: GenerationProgress): void {
    for (const token of tokens) {
      this.tokens.push(token)
      this.text += token.text
    }
    this.progress = progress
    this.renew()
  }

  ended(error?: unknown): void {
    if (this.over) return
    this.over = true
    this.error = error ?? null
    this.stopListening()
    this.settle(error === undefined ? { value: this.partial() } : { error })
    this.renew()
  }

  partial(): GenerationResult {
    const { progress, request, start, tokens } = this
    const { prefillMs, decodeMs, drafts } = progress
    const depths = tokens.map((t) => t.depth)
    const { seed, ...sampling } = request.sampling
    return {
      promptTokens: [...request.promptTokens],
      reusedTokens: progress.reusedTokens,
      tokens: tokens.map((t) => t.id),
      text: this.text,
      depths,
      logprobs: tokens.map((t) => t.logprob),
      finishReason: progress.finishReason ?? (this.over ? 'aborted' : 'length'),
      depth: start?.spec ?? this.spec,
      plan: start?.plan ? [...start.plan] : null,
      speedup: start?.speedup ? speedupOf(start.speedup, depths.length - 1, decodeMs) : null,
      layers: this.layers,
      meanDepth: depths.length === 0 ? 0 : depths.reduce((a, b) => a + b, 0) / depths.length,
      rowLayers: progress.rowLayers,
      layerPasses: progress.layerPasses,
      rowsWaiting: progress.rowsWaiting,
      checkMs: progress.checkMs,
      ...(drafts === null ? {} : { lossless: draftResult(drafts, decodeMs) }),
      seed,
      sampling: sampling satisfies SamplingSettings,
      timing: {
        prefillMs,
        decodeMs,
        totalMs: prefillMs + decodeMs,
        promptTokensPerSecond: perSecond(progress.fedPrompt, prefillMs),
        tokensPerSecond: perSecond(depths.length - 1, decodeMs),
      },
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<GeneratedToken, void, undefined> {
    let shown = 0
    try {
      for (;;) {
        const { changed } = this
        while (shown < this.tokens.length) yield this.tokens[shown++] as GeneratedToken
        if (this.over) {
          if (this.error !== null) throw this.error
          return
        }
        if (changed === this.changed) await changed
      }
    } finally {
      // Left before the end: `break` stops the generation.
      this.stop.abort()
    }
  }

  private renew(): void {
    this.notify()
    this.changed = new Promise((resolve) => {
      this.notify = resolve
    })
  }
}

function draftResult({ judged, accepted, passes, tokens, fullMs }: DraftCounts, ms: number): LosslessResult {
  const speedup = fullMs / ms
  return {
    drafted: judged.depth + judged.text,
    accepted: accepted.depth + accepted.text,
    fromText: { drafted: judged.text, accepted: accepted.text },
    passes,
    tokensPerPass: passes === 0 ? 0 : tokens / passes,
    speedup: Number.isFinite(speedup) ? speedup : null,
  }
}

/** @param steps that took `decodeMs` together */
export function speedupOf(
  { target, predicted, batch, fullMs }: TargetSpeedup,
  steps: number,
  decodeMs: number,
): Speedup {
  return { target, predicted, delivered: steps > 0 && decodeMs > 0 ? (fullMs * steps) / decodeMs : null, batch }
}

export function perSecond(count: number, ms: number): number {
  return count > 0 && ms > 0 ? (count / ms) * 1000 : 0
}
