import type { Policy, TargetSpeedup } from '../depth/policy.js'
import { InputError } from '../errors.js'
import { abortedError } from './aborted.js'
import type {
  FinishReason,
  GeneratedToken,
  GenerateOptions,
  Generation,
  GenerationResult,
  LosslessResult,
  Speedup,
} from './api.js'
import type { Job } from './batch.js'
import { type Decoder, type Emission, PlainDecoder } from './decoder.js'
import type { Drafting } from './drafting.js'
import type { Engine } from './engine.js'
import { slotCells } from './kv-cache.js'
import type { KeptCells } from './kv-room.js'
import { type DraftCounts, LosslessDecoder } from './lossless.js'
import { createSampler, type Sampler } from './sampler.js'
import type { Sequence } from './sequence.js'
import type { Feed, StepResult } from './step.js'
import { createTextStream, type TextStream } from './text-stream.js'
import { startDepth, type TokenDepth } from './token-depth.js'

export interface GenerationParts {
  readonly engine: Engine
  /** Tokens that a sequence may hold. */
  readonly context: number
  readonly endIds: ReadonlySet<number>
  /** Text of ids, special tokens left out. */
  readonly decode: ((ids: readonly number[]) => string) | null
  /** How an id is spelled, special or not. */
  readonly spell: (id: number) => string
}

/** A sequence that a generation continues and does not own: a chat's, or one of the prefix cache. */
export interface KeptSequence {
  /** What it holds while nothing runs on it; null where that is nothing. */
  readonly idle: KeptCells | null
  /**
   * Called when the generation starts; positions that the sequence holds of the prompt are not fed again.
   * @param depth how deep the prompt's own pass goes
   */
  open(promptTokens: readonly number[], depth: TokenDepth): Sequence
  /** Called once after `open`. @param fed all tokens that it holds; none where the generation failed, and nothing can be said of it */
  close(fed: readonly number[]): void
}

export const DEFAULT_MAX_TOKENS = 128

/**
 * One generation: a job of the batch on one side, tokens as they come on the other. It may join the batch once `begin`
 * has given it a policy.
 */
export class GenerationJob implements Job, Generation {
  readonly result: Promise<GenerationResult>
  readonly signal: AbortSignal | undefined
  readonly cells: number
  readonly warnings: readonly string[]
  private readonly parts: GenerationParts
  private readonly promptTokens: readonly number[]
  private readonly maxTokens: number
  private readonly ignoreEos: boolean
  private readonly sampler: Sampler
  private readonly spec: string
  private policy: Policy | null = null
  private decoder: Decoder | null = null
  private drafting: LosslessDecoder | null = null
  private readonly stream: TextStream | null
  private readonly kept: KeptSequence | null

  private sequence: Sequence | null = null
  private readonly emitted: GeneratedToken[] = []
  private text = ''
  private finishReason: FinishReason | null = null
  private error: unknown = null
  private ended = false
  private cancelled = false
  /** Stopped between two steps: the sequence holds what it says. */
  private intact = false
  private rowLayers = 0
  private layerPasses = 0
  private rowsWaiting = 0
  private checkMs = 0
  private startedAt = 0
  private firstAt = 0
  private lastAt = 0
  private fedPrompt = 0
  private reused = 0
  private notify: () => void = () => {}
  private changed = new Promise<void>(() => {})
  private settle: (outcome: { value: GenerationResult } | { error: unknown }) => void = () => {}

  constructor(
    parts: GenerationParts,
    /** The SPEC that was asked for, until a policy is there to say it canonically. */
    spec: string,
    promptTokens: readonly number[],
    options: GenerateOptions,
    kept: KeptSequence | null = null,
    warnings: readonly string[] = [],
  ) {
    const { maxTokens = DEFAULT_MAX_TOKENS, stop = [], ignoreEos = false, signal, ...sampling } = options
    if (!Number.isSafeInteger(maxTokens) || maxTokens < 1)
      throw new InputError('maxTokens must be a whole number of at least 1')
    if (promptTokens.length === 0) throw new InputError('the prompt has no tokens')
    if (promptTokens.length > parts.context) {
      throw new InputError(
        `the prompt has ${promptTokens.length} tokens, and the context holds ${parts.context}`,
        'context_exceeded',
      )
    }
    this.parts = parts
    this.spec = spec
    this.promptTokens = promptTokens
    this.maxTokens = maxTokens
    this.ignoreEos = ignoreEos
    this.signal = signal
    this.kept = kept
    this.cells = slotCells(Math.min(parts.context, promptTokens.length + maxTokens), parts.context)
    this.warnings = warnings
    this.sampler = createSampler(sampling, promptTokens)
    const stops = typeof stop === 'string' ? [stop] : stop
    if (!Array.isArray(stops) || !stops.every((text) => typeof text === 'string'))
      throw new InputError('stop must be a text or a list of texts')
    if (stops.length > 0 && parts.decode === null)
      throw new InputError('stop strings need a tokenizer, and this model has none')
    this.stream = parts.decode === null ? null : createTextStream(parts.decode, stops, parts.spell)
    this.result = new Promise((resolve, reject) => {
      this.settle = (outcome) => ('error' in outcome ? reject(outcome.error) : resolve(outcome.value))
    })
    // Whoever only iterates learns of an error there.
    this.result.catch(() => {})
    this.renew()
  }

  /**
   * Gives the generation its policy, before it joins a batch. Throws what the policy throws.
   * @param drafting where the policy only drafts: what says for how long
   */
  begin(policy: Policy, drafting: Drafting | null = null): void {
    const { promptTokens, maxTokens, sampler } = this
    const { layers } = this.parts.engine
    const info = { layers, promptTokens: promptTokens.length, maxTokens }
    const depth = startDepth(policy, info, { mayGrow: drafting !== null })
    this.policy = policy
    this.drafting = drafting && new LosslessDecoder(sampler, depth, drafting, layers, promptTokens)
    this.decoder = this.drafting ?? new PlainDecoder(sampler, depth, promptTokens.length)
  }

  get idle(): KeptCells | null {
    return this.kept?.idle ?? null
  }

  feed(): readonly Feed[] | null {
    if (this.finishReason !== null) return null
    if (this.cancelled || this.signal?.aborted) {
      this.intact = true
      throw abortedError(this.signal?.reason)
    }
    const { promptTokens, signal } = this
    const decoder = this.begun
    if (this.sequence === null) {
      this.startedAt = performance.now()
      this.sequence = this.kept ? this.kept.open(promptTokens, decoder.prompt) : this.parts.engine.createSequence()
    }
    const { sequence } = this
    const countFrom = promptTokens.length - 1
    const last = this.emitted.at(-1)
    if (last === undefined) {
      const ids = promptTokens.slice(sequence.length)
      this.fedPrompt = ids.length
      this.reused = sequence.length
      return [{ sequence, ids, depth: decoder.prompt, countFrom, signal }]
    }
    const said = this.emitted.length
    const room = Math.min(this.maxTokens - said, this.parts.context - promptTokens.length - said + 1)
    return [{ sequence, ...decoder.feed(sequence, last.id, room), countFrom, signal }]
  }

  accept(results: readonly StepResult[]): void {
    const [result] = results as [StepResult]
    const sequence = this.sequence as Sequence
    this.lastAt = performance.now()
    if (this.emitted.length === 0) this.firstAt = this.lastAt
    this.rowLayers += result.rowLayers
    this.layerPasses += result.layerPasses
    this.checkMs += result.checkMs
    this.rowsWaiting = sequence.waiting
    for (const token of this.begun.accept(sequence, result)) {
      if (this.finishReason === null) this.emit(token)
    }
    this.renew()
  }

  private emit({ id, logprob, depth }: Emission): void {
    const isEnd = this.parts.endIds.has(id) && !this.ignoreEos
    let text = (isEnd ? this.stream?.end(id) : this.stream?.push(id)) ?? ''
    if (this.stream?.stopped) this.finishReason = 'stop'
    else if (isEnd) this.finishReason = 'eos'
    else if (
      this.emitted.length + 1 >= this.maxTokens ||
      this.promptTokens.length + this.emitted.length >= this.parts.context
    )
      this.finishReason = 'length'
    if (this.finishReason !== null && this.finishReason !== 'stop') text += this.stream?.finish() ?? ''
    this.text += text
    this.emitted.push({ text, id, logprob, depth })
  }

  end(error?: unknown): void {
    if (this.ended) return
    this.ended = true
    this.error = error ?? null
    this.decoder?.end()
    // Drafts that nobody verified, and tokens after the end, are not part of what was said.
    this.sequence?.truncate(this.promptTokens.length + Math.max(0, this.emitted.length - 1))
    const fed = error === undefined || this.intact ? (this.sequence?.length ?? 0) : 0
    if (this.kept === null) this.sequence?.dispose()
    else if (this.sequence !== null)
      this.kept.close([...this.promptTokens, ...this.emitted.map((t) => t.id)].slice(0, fed))
    this.settle(error === undefined ? { value: this.partial() } : { error })
    this.renew()
  }

  partial(): GenerationResult {
    const depths = this.emitted.map((t) => t.depth)
    const prefillMs = this.firstAt - this.startedAt
    const decodeMs = this.lastAt - this.firstAt
    const skip = this.policy?.kind === 'skip' ? this.policy : null
    return {
      promptTokens: [...this.promptTokens],
      reusedTokens: this.reused,
      tokens: this.emitted.map((t) => t.id),
      text: this.text,
      depths,
      logprobs: this.emitted.map((t) => t.logprob),
      finishReason: this.finishReason ?? (this.ended ? 'aborted' : 'length'),
      depth: this.policy?.spec ?? this.spec,
      plan: skip?.everyToken === undefined ? null : [...skip.everyToken],
      speedup:
        skip?.speedup === undefined || this.drafting !== null
          ? null
          : speedupOf(skip.speedup, depths.length - 1, decodeMs),
      layers: this.parts.engine.layers,
      meanDepth: depths.length === 0 ? 0 : depths.reduce((a, b) => a + b, 0) / depths.length,
      rowLayers: this.rowLayers,
      layerPasses: this.layerPasses,
      rowsWaiting: this.rowsWaiting,
      checkMs: this.checkMs,
      ...(this.drafting === null ? {} : { lossless: draftResult(this.drafting.counts, decodeMs) }),
      seed: this.sampler.seed,
      sampling: this.sampler.settings,
      timing: {
        prefillMs,
        decodeMs,
        totalMs: prefillMs + decodeMs,
        promptTokensPerSecond: perSecond(this.fedPrompt, prefillMs),
        tokensPerSecond: perSecond(depths.length - 1, decodeMs),
      },
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<GeneratedToken, void, undefined> {
    let shown = 0
    try {
      for (;;) {
        const { changed } = this
        while (shown < this.emitted.length) yield this.emitted[shown++] as GeneratedToken
        if (this.ended) {
          if (this.error !== null) throw this.error
          return
        }
        if (changed === this.changed) await changed
      }
    } finally {
      // Left before the end: `break` stops the generation.
      this.cancelled = true
    }
  }

  private get begun(): Decoder {
    if (this.decoder === null) throw new Error('the generation has no policy yet')
    return this.decoder
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
