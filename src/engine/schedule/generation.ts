import type { Policy } from '../../depth/policy.js'
import type { FinishReason, GeneratedToken } from '../api.js'
import { slotCells } from '../cache/kv-cache.js'
import type { Sequence } from '../cache/sequence.js'
import { startDepth, type TokenDepth } from '../plan/token-depth.js'
import { abortedError } from '../run/aborted.js'
import type { Engine } from '../run/engine.js'
import type { Feed, StepResult } from '../run/step.js'
import type { Job } from './batch.js'
import { type Decoder, type Emission, PlainDecoder } from './decoder.js'
import type { Drafting } from './drafting.js'
import type { GenerationRequest } from './generation-request.js'
import type { GenerationProgress, GenerationSink } from './generation-stream.js'
import type { KeptCells } from './kv-room.js'
import { LosslessDecoder } from './lossless.js'
import { createSampler, type Sampler } from './sampler.js'
import { createTextStream, type TextStream } from './text-stream.js'

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

/** One generation as a job of the batch: it may join once `begin` has given it a policy, and tells a sink what comes of it. */
export class GenerationJob implements Job {
  readonly cells: number
  readonly priority: number
  readonly client: string | undefined
  private readonly sampler: Sampler
  private readonly stream: TextStream | null
  private decoder: Decoder | null = null
  private drafting: LosslessDecoder | null = null

  private sequence: Sequence | null = null
  /** Ids that stand. */
  private readonly said: number[] = []
  private finishReason: FinishReason | null = null
  private ended = false
  /** Stopped between two steps: the sequence holds what it says. */
  private intact = false
  private rowLayers = 0
  private layerPasses = 0
  private checkMs = 0
  private startedAt = 0
  private firstAt = 0
  private lastAt = 0
  private fedPrompt = 0
  private reused = 0

  constructor(
    private readonly parts: GenerationParts,
    private readonly request: GenerationRequest,
    private readonly sink: GenerationSink,
    readonly signal: AbortSignal | undefined,
    private readonly kept: KeptSequence | null = null,
  ) {
    const { promptTokens, maxTokens, sampling, stop } = request
    this.cells = slotCells(Math.min(parts.context, promptTokens.length + maxTokens), parts.context)
    this.priority = request.priority
    this.client = request.client
    this.sampler = createSampler(sampling, promptTokens)
    this.stream = parts.decode === null ? null : createTextStream(parts.decode, stop, parts.spell)
  }

  /**
   * Gives the generation its policy, before it joins a batch. Throws what the policy throws.
   * @param drafting where the policy only drafts: what says for how long
   */
  begin(policy: Policy, drafting: Drafting | null = null): void {
    const { sampler } = this
    const { promptTokens, maxTokens } = this.request
    const { layers } = this.parts.engine
    const info = { layers, promptTokens: promptTokens.length, maxTokens }
    const depth = startDepth(policy, info, { mayGrow: drafting !== null })
    this.drafting = drafting && new LosslessDecoder(sampler, depth, drafting, layers, promptTokens)
    this.decoder = this.drafting ?? new PlainDecoder(sampler, depth, promptTokens.length)
    const { everyToken = null, speedup = null } = policy.kind === 'skip' ? policy : {}
    this.sink.begun({ spec: policy.spec, plan: everyToken, speedup: drafting === null ? speedup : null })
  }

  get idle(): KeptCells | null {
    return this.kept?.idle ?? null
  }

  feed(): readonly Feed[] | null {
    if (this.finishReason !== null) return null
    const { signal } = this
    if (signal?.aborted) {
      this.intact = true
      throw abortedError(signal.reason)
    }
    const { promptTokens, maxTokens } = this.request
    const decoder = this.begun
    if (this.sequence === null) {
      this.startedAt = performance.now()
      this.sequence = this.kept ? this.kept.open(promptTokens, decoder.prompt) : this.parts.engine.createSequence()
    }
    const { sequence } = this
    const countFrom = promptTokens.length - 1
    const last = this.said.at(-1)
    if (last === undefined) {
      const ids = promptTokens.slice(sequence.length)
      this.fedPrompt = ids.length
      this.reused = sequence.length
      return [{ sequence, ids, depth: decoder.prompt, countFrom, signal }]
    }
    const said = this.said.length
    const room = Math.min(maxTokens - said, this.parts.context - promptTokens.length - said + 1)
    return [{ sequence, ...decoder.feed(sequence, last, room), countFrom, signal }]
  }

  accept(results: readonly StepResult[]): void {
    const [result] = results as [StepResult]
    const sequence = this.sequence as Sequence
    this.lastAt = performance.now()
    if (this.said.length === 0) this.firstAt = this.lastAt
    this.rowLayers += result.rowLayers
    this.layerPasses += result.layerPasses
    this.checkMs += result.checkMs
    const tokens: GeneratedToken[] = []
    for (const token of this.begun.accept(sequence, result)) {
      if (this.finishReason === null) tokens.push(this.emit(token))
    }
    this.sink.said(tokens, this.progress(sequence.waiting))
  }

  end(error?: unknown): void {
    if (this.ended) return
    this.ended = true
    this.decoder?.end()
    const { promptTokens } = this.request
    // Drafts that nobody verified, and tokens after the end, are not part of what was said.
    this.sequence?.truncate(promptTokens.length + Math.max(0, this.said.length - 1))
    const fed = error === undefined || this.intact ? (this.sequence?.length ?? 0) : 0
    if (this.kept === null) this.sequence?.dispose()
    else if (this.sequence !== null) this.kept.close([...promptTokens, ...this.said].slice(0, fed))
    this.sink.ended(error)
  }

  private emit({ id, logprob, depth }: Emission): GeneratedToken {
    const { promptTokens, maxTokens, ignoreEos } = this.request
    const isEnd = this.parts.endIds.has(id) && !ignoreEos
    let text = (isEnd ? this.stream?.end(id) : this.stream?.push(id)) ?? ''
    if (this.stream?.stopped) this.finishReason = 'stop'
    else if (isEnd) this.finishReason = 'eos'
    else if (this.said.length + 1 >= maxTokens || promptTokens.length + this.said.length >= this.parts.context)
      this.finishReason = 'length'
    if (this.finishReason !== null && this.finishReason !== 'stop') text += this.stream?.finish() ?? ''
    this.said.push(id)
    return { text, id, logprob, depth }
  }

  private progress(rowsWaiting: number): GenerationProgress {
    return {
      reusedTokens: this.reused,
      fedPrompt: this.fedPrompt,
      rowLayers: this.rowLayers,
      layerPasses: this.layerPasses,
      rowsWaiting,
      checkMs: this.checkMs,
      prefillMs: this.firstAt - this.startedAt,
      decodeMs: this.lastAt - this.firstAt,
      finishReason: this.finishReason,
      drafts: this.drafting?.counts ?? null,
    }
  }

  private get begun(): Decoder {
    if (this.decoder === null) throw new Error('the generation has no policy yet')
    return this.decoder
  }
}
