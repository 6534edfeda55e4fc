import type { Policy } from '../../depth/policy.js'
import { InputError } from '../../errors.js'
import type { BeamSearchOptions, BeamSearchResult } from '../api.js'
import { slotCells } from '../cache/kv-cache.js'
import type { Sequence } from '../cache/sequence.js'
import { type SequenceDepth, startDepth } from '../plan/token-depth.js'
import { abortedError } from '../run/aborted.js'
import { type Attempt, attempt } from '../run/attempt.js'
import type { Feed, StepResult } from '../run/step.js'
import type { Batch, Job } from './batch.js'
import { type BeamRow, beamScore, bestContinuations, type Continuation, EndedBeams } from './beam-ranking.js'
import type { GenerationParts } from './generation.js'
import { DEFAULT_MAX_TOKENS } from './generation-request.js'
import { perSecond } from './generation-stream.js'
import { repeatingIds } from './no-repeat-ngram.js'
import { checkNoRepeatNgram, noTokenLeft, notNumbers } from './sampler.js'

export type BeamParts = GenerationParts & { readonly policy: Policy }

/** Beams that a search has at most: each holds a cache of its own. */
const MOST_BEAMS = 128

/** The new tokens of a beam and what is told of them. */
interface BeamText {
  readonly tokens: readonly number[]
  readonly logprobs: readonly number[]
  readonly depths: readonly number[]
  /** Of `logprobs`. */
  readonly sum: number
  readonly layerPasses: number
  readonly rowsWaiting: number
}

/** A text that goes on: its last token has not been fed yet. */
interface Beam {
  readonly text: BeamText
  readonly sequence: Sequence
  readonly depth: SequenceDepth
}

/** What a step has chosen: a token, the beam it came from, and the text that both give. */
interface Chosen {
  readonly parent: Beam
  readonly text: BeamText
}

/**
 * Beam search as transformers does it. A step looks at the best (e + 1) x beams continuations, e being the number of
 * end-of-text tokens, and at 2 x beams at least. A continuation that ends is kept if it is among the first `beams` of
 * them; the best `beams` of those that do not end go on. The search stops where as many texts have ended as there are
 * beams, and the best one that goes on, scored at its present length, is not better than the worst of them
 * (`early_stopping=False`). All beams take their steps together, with whatever else runs.
 */
export async function beamSearch(
  parts: BeamParts,
  batch: Batch,
  promptTokens: readonly number[],
  options: Omit<BeamSearchOptions, 'depth'>,
): Promise<BeamSearchResult> {
  const search = new BeamSearch(parts, promptTokens, options)
  batch.add(search)
  return search.done
}

class BeamSearch implements Job {
  readonly done: Promise<BeamSearchResult>
  /** Slots: as many beams as there may be. */
  readonly width: number
  readonly cells: number
  readonly signal: AbortSignal | undefined
  private readonly settings: Required<Omit<BeamSearchOptions, 'depth' | 'signal'>>
  private readonly endIds: ReadonlySet<number>
  /** New tokens at which a text ends: asked for, or all that the context holds. */
  private readonly limit: number
  private readonly ended: EndedBeams<BeamText>
  private readonly sequences = new Set<Sequence>()
  private rowLayers = 0
  private checkMs = 0
  private startedAt = 0
  private firstAt = 0
  private lastAt = 0
  private readonly depth: SequenceDepth
  private beams: readonly Beam[] = []
  /** Of `beams`, in the order of their slots: graphs are kept by it, and the order of the beams changes all the time. */
  private order: readonly number[] = []
  private going: readonly Chosen[] = []
  private settle: (outcome: Attempt<BeamSearchResult>) => void = () => {}

  constructor(
    private readonly parts: BeamParts,
    private readonly promptTokens: readonly number[],
    { signal, ...options }: Omit<BeamSearchOptions, 'depth'>,
  ) {
    this.settings = checkedSettings(options)
    this.signal = signal
    this.endIds = this.settings.ignoreEos ? new Set() : parts.endIds
    this.limit = Math.min(this.settings.maxTokens, parts.context - promptTokens.length + 1)
    this.ended = new EndedBeams(this.settings.beams)
    this.width = this.settings.beams
    this.cells = this.width * slotCells(Math.min(parts.context, promptTokens.length + this.limit), parts.context)
    const info = { layers: parts.engine.layers, promptTokens: promptTokens.length, maxTokens: this.settings.maxTokens }
    this.depth = startDepth(parts.policy, info)
    this.done = new Promise((resolve, reject) => {
      this.settle = (outcome) => ('error' in outcome ? reject(outcome.error) : resolve(outcome.value))
    })
  }

  feed(): readonly Feed[] | null {
    const { parts, promptTokens, signal } = this
    if (signal?.aborted) throw abortedError(signal.reason)
    if (this.beams.length === 0) {
      this.startedAt = performance.now()
      const nothing = { tokens: [], logprobs: [], depths: [], sum: 0, layerPasses: 0, rowsWaiting: 0 }
      this.beams = [{ text: nothing, sequence: this.own(parts.engine.createSequence()), depth: this.depth }]
    } else {
      const [best] = this.going
      if (best === undefined || !this.mayImprove(best)) return null
      this.beams = this.spread(this.beams, this.going)
    }
    const { beams } = this
    const last = promptTokens.length - 1
    this.order = beams.map((_, i) => i).sort((a, b) => slotOf(beams[a]) - slotOf(beams[b]))
    return this.order.map((i) => {
      const { text, sequence, depth } = beams[i] as Beam
      const generated = text.tokens.length
      return {
        sequence,
        ids: generated === 0 ? promptTokens : text.tokens.slice(-1),
        depth: depth.next(last + generated, generated),
        countFrom: last,
        signal,
      }
    })
  }

  accept(inOrder: readonly StepResult[]): void {
    const results: StepResult[] = []
    inOrder.forEach((result, at) => {
      const i = this.order[at] as number
      const { text, depth } = this.beams[i] as Beam
      if (text.tokens.length === 0) depth.observePrompt(result.logits)
      results[i] = result
    })
    this.lastAt = performance.now()
    if (this.firstAt === 0) this.firstAt = this.lastAt
    this.going = this.choose(this.beams, results)
  }

  end(error?: unknown): void {
    for (const sequence of this.sequences) sequence.dispose()
    this.settle(error === undefined ? attempt(() => this.result(this.depth.spec)) : { error })
  }

  private own(sequence: Sequence): Sequence {
    this.sequences.add(sequence)
    return sequence
  }

  /** Gives each text that goes on a sequence: the first of a parent takes its parent's, the others copies of it. */
  private spread(beams: readonly Beam[], going: readonly Chosen[]): Beam[] {
    const parents = new Set(going.map(({ parent }) => parent))
    // First of all, so that the copies find room.
    for (const beam of beams) {
      if (parents.has(beam)) continue
      beam.sequence.dispose()
      this.sequences.delete(beam.sequence)
    }
    return going.map(({ parent, text }) => {
      if (parents.delete(parent)) return { ...parent, text }
      return { text, sequence: this.own(parent.sequence.fork()), depth: parent.depth.fork() }
    })
  }

  /** Keeps the texts that end with this step and gives those that go on, best first. */
  private choose(beams: readonly Beam[], results: readonly StepResult[]): Chosen[] {
    const { beams: width, lengthPenalty, noRepeatNgram } = this.settings
    const rows = results.map((result, i): BeamRow => {
      const { sum, tokens } = (beams[i] as Beam).text
      this.rowLayers += result.rowLayers
      this.checkMs += result.checkMs
      if (!Number.isFinite(result.logSumExp)) throw notNumbers()
      const forbidden = repeatingIds([...this.promptTokens, ...tokens], noRepeatNgram)
      return { sum, logits: result.logits, logSumExp: result.logSumExp, forbidden }
    })
    const going: Chosen[] = []
    const count = Math.max(2, 1 + this.endIds.size) * width
    bestContinuations(rows, count).forEach((continuation, rank) => {
      const parent = beams[continuation.parent] as Beam
      const text = longer(parent, continuation, results[continuation.parent] as StepResult)
      const { length } = text.tokens
      if (!this.endIds.has(continuation.id) && length < this.limit) {
        if (going.length < width) going.push({ parent, text })
      } else if (rank < width) this.ended.add(text, beamScore(text.sum, length, lengthPenalty))
    })
    return going
  }

  private mayImprove({ text }: Chosen): boolean {
    return this.ended.takes(beamScore(text.sum, text.tokens.length, this.settings.lengthPenalty))
  }

  private result(depth: string): BeamSearchResult {
    const { parts, endIds } = this
    const beams = this.ended.all.map(({ text: { tokens }, score }) => {
      const shown = endIds.has(tokens.at(-1) as number) ? tokens.slice(0, -1) : tokens
      const text = parts.decode === null || shown.length === 0 ? '' : parts.decode(shown)
      return { tokens: [...tokens], text, score }
    })
    const [best] = beams
    const told = this.ended.all[0]?.text
    if (best === undefined || told === undefined) {
      throw noTokenLeft(this.settings.noRepeatNgram)
    }
    const prefillMs = this.firstAt - this.startedAt
    const decodeMs = this.lastAt - this.firstAt
    return {
      promptTokens: [...this.promptTokens],
      reusedTokens: 0,
      tokens: best.tokens,
      text: best.text,
      depths: [...told.depths],
      logprobs: [...told.logprobs],
      finishReason: endIds.has(best.tokens.at(-1) as number) ? 'eos' : 'length',
      depth,
      plan: parts.policy.kind === 'skip' && parts.policy.everyToken ? [...parts.policy.everyToken] : null,
      // Beams cost a batch of their own, and targets are of single texts.
      speedup: null,
      layers: parts.engine.layers,
      meanDepth: told.depths.reduce((a, b) => a + b, 0) / told.depths.length,
      rowLayers: this.rowLayers,
      layerPasses: told.layerPasses,
      rowsWaiting: told.rowsWaiting,
      checkMs: this.checkMs,
      seed: 0,
      sampling: {
        temperature: 0,
        topK: 0,
        topP: 1,
        minP: 0,
        repetitionPenalty: 1,
        noRepeatNgram: this.settings.noRepeatNgram,
      },
      timing: {
        prefillMs,
        decodeMs,
        totalMs: prefillMs + decodeMs,
        promptTokensPerSecond: perSecond(this.promptTokens.length, prefillMs),
        tokensPerSecond: perSecond(best.tokens.length - 1, decodeMs),
      },
      beams,
    }
  }
}

function checkedSettings(options: Omit<BeamSearchOptions, 'depth' | 'signal'>) {
  const { beams = 4, noRepeatNgram = 0, lengthPenalty = 1, maxTokens = DEFAULT_MAX_TOKENS, ignoreEos = false } = options
  if (!Number.isInteger(beams) || beams < 1 || beams > MOST_BEAMS) {
    throw new InputError(`beams must be a whole number from 1 to ${MOST_BEAMS}, not ${beams}`)
  }
  checkNoRepeatNgram(noRepeatNgram)
  if (!Number.isFinite(lengthPenalty)) throw new InputError(`lengthPenalty must be a number, not ${lengthPenalty}`)
  if (!Number.isSafeInteger(maxTokens) || maxTokens < 1) {
    throw new InputError('maxTokens must be a whole number of at least 1')
  }
  return { beams, noRepeatNgram, lengthPenalty, maxTokens, ignoreEos }
}

function longer({ text, sequence }: Beam, { id, logprob, sum }: Continuation, result: StepResult): BeamText {
  return {
    tokens: [...text.tokens, id],
    logprobs: [...text.logprobs, logprob],
    depths: [...text.depths, result.depth],
    sum,
    layerPasses: text.layerPasses + result.layerPasses,
    rowsWaiting: sequence.waiting,
  }
}

function slotOf(beam: Beam | undefined): number {
  return beam?.sequence.slot.base ?? 0
}
