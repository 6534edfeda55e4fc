import type { Policy } from '../depth/policy.js'
import { InputError } from '../errors.js'
import { abortedError } from './aborted.js'
import type { FinishReason, GeneratedToken, GenerateOptions, Generation, GenerationResult } from './api.js'
import type { Job } from './batch.js'
import type { Engine } from './engine.js'
import { createSampler, type Sampler } from './sampler.js'
import type { Sequence } from './sequence.js'
import type { Feed, StepResult } from './step.js'
import { createTextStream, type TextStream } from './text-stream.js'
import { type SequenceDepth, startDepth, type TokenDepth } from './token-depth.js'

export interface GenerationParts {
  readonly engine: Engine
  /** Tokens that a sequence may hold. */
  readonly context: number
  readonly endIds: ReadonlySet<number>
  readonly decode: ((ids: readonly number[]) => string) | null
  readonly policy: Policy
}

/** A sequence that a generation continues and does not own: a chat's. */
export interface KeptSequence {
  /**
   * Called when the generation starts; positions that the sequence holds of the prompt are not fed again.
   * @param depth how deep the prompt's own pass goes
   */
  open(promptTokens: readonly number[], depth: TokenDepth): Sequence
  /** The tokens that were fed in all. */
  close(fed: readonly number[]): void
}

export const DEFAULT_MAX_TOKENS = 128

/** One generation: a job of the batch on one side, tokens as they come on the other. */
export class GenerationJob implements Job, Generation {
  readonly result: Promise<GenerationResult>
  readonly signal: AbortSignal | undefined
  private readonly parts: GenerationParts
  private readonly promptTokens: readonly number[]
  private readonly maxTokens: number
  private readonly ignoreEos: boolean
  private readonly sampler: Sampler
  private readonly depth: SequenceDepth
  private readonly stream: TextStream | null
  private readonly kept: KeptSequence | null

  private sequence: Sequence | null = null
  private readonly emitted: GeneratedToken[] = []
  private text = ''
  private finishReason: FinishReason | null = null
  private error: unknown = null
  private ended = false
  private cancelled = false
  private rowLayers = 0
  private layerPasses = 0
  private rowsWaiting = 0
  private checkMs = 0
  private startedAt = 0
  private firstAt = 0
  private lastAt = 0
  private fedPrompt = 0
  private notify: () => void = () => {}
  private changed = new Promise<void>(() => {})
  private settle: (outcome: { value: GenerationResult } | { error: unknown }) => void = () => {}

  constructor(
    parts: GenerationParts,
    promptTokens: readonly number[],
    options: GenerateOptions,
    kept: KeptSequence | null = null,
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
    this.promptTokens = promptTokens
    this.maxTokens = maxTokens
    this.ignoreEos = ignoreEos
    this.signal = signal
    this.kept = kept
    this.sampler = createSampler(sampling, promptTokens)
    const stops = typeof stop === 'string' ? [stop] : stop
    if (stops.length > 0 && parts.decode === null)
      throw new InputError('stop strings need a tokenizer, and this model has none')
    this.stream = parts.decode === null ? null : createTextStream(parts.decode, stops)
    this.depth = startDepth(parts.policy, { layers: parts.engine.layers, promptTokens: promptTokens.length, maxTokens })
    this.result = new Promise((resolve, reject) => {
      this.settle = (outcome) => ('error' in outcome ? reject(outcome.error) : resolve(outcome.value))
    })
    // Whoever only iterates learns of an error there.
    this.result.catch(() => {})
    this.renew()
  }

  feed(): Feed | null {
    if (this.finishReason !== null) return null
    if (this.cancelled || this.signal?.aborted) throw abortedError(this.signal?.reason)
    const generated = this.emitted.length
    const depth = this.depth.next(this.promptTokens.length - 1 + generated, generated)
    if (this.sequence === null) {
      this.startedAt = performance.now()
      this.sequence = this.kept ? this.kept.open(this.promptTokens, depth) : this.parts.engine.createSequence()
    }
    const { sequence } = this
    const ids =
      generated === 0 ? this.promptTokens.slice(sequence.length) : [(this.emitted.at(-1) as GeneratedToken).id]
    if (generated === 0) this.fedPrompt = ids.length
    return { sequence, ids, depth, countFrom: this.promptTokens.length - 1, signal: this.signal }
  }

  accept(result: StepResult): void {
    const sequence = this.sequence as Sequence
    this.lastAt = performance.now()
    if (this.emitted.length === 0) this.firstAt = this.lastAt
    this.rowLayers += result.rowLayers
    this.layerPasses += result.layerPasses
    this.checkMs += result.checkMs
    this.rowsWaiting = sequence.waiting
    const { id, logprob } = this.sampler.sample(result.logits, result)
    const isEnd = this.parts.endIds.has(id) && !this.ignoreEos
    let text = isEnd ? '' : (this.stream?.push(id) ?? '')
    if (this.stream?.stopped) this.finishReason = 'stop'
    else if (isEnd) this.finishReason = 'eos'
    else if (this.emitted.length + 1 >= this.maxTokens || sequence.length >= this.parts.context)
      this.finishReason = 'length'
    if (this.finishReason !== null && this.finishReason !== 'stop') text += this.stream?.finish() ?? ''
    this.text += text
    this.emitted.push({ text, id, logprob, depth: result.depth })
    this.renew()
  }

  end(error?: unknown): void {
    if (this.ended) return
    this.ended = true
    this.error = error ?? null
    const fed = this.sequence?.length ?? 0
    if (this.kept)
      this.kept.close([...this.promptTokens, ...this.emitted.map((t) => t.id)].slice(0, error === undefined ? fed : 0))
    else this.sequence?.dispose()
    this.settle(error === undefined ? { value: this.partial() } : { error })
    this.renew()
  }

  partial(): GenerationResult {
    const depths = this.emitted.map((t) => t.depth)
    const prefillMs = this.firstAt - this.startedAt
    const decodeMs = this.lastAt - this.firstAt
    return {
      promptTokens: [...this.promptTokens],
      tokens: this.emitted.map((t) => t.id),
      text: this.text,
      depths,
      logprobs: this.emitted.map((t) => t.logprob),
      finishReason: this.finishReason ?? 'length',
      depth: this.depth.spec,
      layers: this.parts.engine.layers,
      meanDepth: depths.length === 0 ? 0 : depths.reduce((a, b) => a + b, 0) / depths.length,
      rowLayers: this.rowLayers,
      layerPasses: this.layerPasses,
      rowsWaiting: this.rowsWaiting,
      checkMs: this.checkMs,
      seed: this.sampler.seed,
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

  private renew(): void {
    this.notify()
    this.changed = new Promise((resolve) => {
      this.notify = resolve
    })
  }
}

export function perSecond(count: number, ms: number): number {
  return count > 0 && ms > 0 ? (count / ms) * 1000 : 0
}
