import type { Sequence } from '../cache/sequence.js'
import { type SequenceDepth, type TokenDepth, toTheTop } from '../plan/token-depth.js'
import type { SaidRow, StepResult } from '../run/step.js'
import type { Decoder, DecoderFeed, Emission } from './decoder.js'
import { type Drafting, type DraftMember, MOST_DRAFTS, type Proposal, type Sureness } from './drafting.js'
import { NgramIndex } from './ngram-index.js'
import { type Distribution, logProbability, type Sampler } from './sampler.js'
import { type AcceptRule, acceptDraft } from './verify.js'

/** What drafting came to. */
export interface DraftCounts {
  /** Tokens that the policy or the text drafted and the full model has looked at. */
  readonly judged: Record<Sureness['source'], number>
  readonly accepted: Record<Sureness['source'], number>
  /** Passes of the full model after the prompt's, and the tokens that they gave. */
  readonly passes: number
  readonly tokens: number
  /** What these tokens would have taken at full depth in such a batch, in ms; NaN where no step has shown it. */
  readonly fullMs: number
}

const VERIFY = { kind: 'verify', proposed: 0 } as const

interface Draft {
  readonly id: number
  /** What it was drawn from. */
  readonly q: Distribution
  readonly sureness: Sureness
}

/**
 * The policy or the text itself drafts, the full model verifies: what comes out has full depth's law. Under an exit policy
 * drafted rows wait where they left, and one pass takes them to the last layer (LayerSkip, arXiv 2404.16710); rows that a
 * skip plan drafted run again at full depth, and what the text proposes runs there for the first time. After a verified pass
 * every layer is complete, so a plan may change.
 */
export class LosslessDecoder implements Decoder, DraftMember {
  readonly prompt: TokenDepth
  readonly drafted: number[] = []
  proposal: Proposal | null = null
  private drafts: Draft[] = []
  /** The tokens of `proposal`. */
  private proposed: readonly number[] = []
  private readonly ngrams = new NgramIndex()
  /** Position of the newest token that stands: where the cycle's first row goes. */
  private base = 0
  private generated = 0
  private readonly counted = {
    judged: { depth: 0, text: 0 },
    accepted: { depth: 0, text: 0 },
    passes: 0,
    tokens: 0,
    fullMs: 0,
  }

  /**
   * @param layers L
   */
  constructor(
    private readonly sampler: Sampler,
    private readonly depth: SequenceDepth,
    private readonly drafting: Drafting,
    private readonly layers: number,
    private readonly promptTokens: readonly number[],
    private readonly rule: AcceptRule = acceptDraft,
  ) {
    this.prompt = toTheTop(layers)
    for (const id of promptTokens) this.ngrams.push(id)
  }

  get counts(): DraftCounts {
    return this.counted
  }

  feed(sequence: Sequence, last: number, room: number): DecoderFeed {
    const { drafts, drafting, base } = this
    const newest = drafts.at(-1)?.id ?? last
    // The pass that verifies emits one token more than it accepts.
    const more = room - drafts.length - 1
    const move = more > 0 ? drafting.next(this) : VERIFY
    if (move.kind === 'draft') {
      const position = this.promptTokens.length - 1 + this.generated + drafts.length
      const depth = this.depth.next(position, this.generated + drafts.length)
      if (depth.kind === 'exit') {
        drafting.feeds('draft', 1)
        return { ids: [newest], depth, logitsFrom: base }
      }
      if (depth.layers.length < this.layers) {
        drafting.feeds('draft', 1)
        return { ids: [newest], depth }
      }
    } else if (drafts.length === 0) this.propose(Math.min(move.proposed, more))
    drafting.feeds('verify', drafts.length + 1)
    if (sequence.length > base && sequence.waiting === sequence.length - sequence.complete) {
      return { ids: [newest], depth: toTheTop(this.layers), logitsFrom: base }
    }
    sequence.truncate(base)
    return { ids: [last, ...drafts.map(({ id }) => id)], depth: toTheTop(this.layers), logitsFrom: base }
  }

  accept(sequence: Sequence, result: StepResult): Emission[] {
    if (this.generated === 0) {
      this.depth.observePrompt(result.logits)
      this.drafting.join(this)
      return this.stand(sequence, [this.next(result)])
    }
    this.drafting.ran(result.batch)
    if (sequence.complete < sequence.length) {
      const before = this.drafts.map(({ id }) => id)
      const q = this.sampler.distribution(result.logits, before, result)
      const id = this.sampler.draw(q)
      const probability = Math.exp((result.logits[id] as number) - result.logSumExp)
      this.drafts.push({ id, q, sureness: { source: 'depth', probability } })
      this.drafted.push(probability)
      return []
    }
    const rows = [...result.earlier, result]
    let standing = true
    const tokens: Emission[] = []
    for (const [i, { id: drafted, q, sureness }] of this.drafts.entries()) {
      const row = rows[i] as SaidRow
      const p = this.sampler.distribution(row.logits, [], row)
      const { accepted, id } = this.rule(drafted, q, p, this.sampler.random, this.sampler.draw)
      this.sampler.remember(id)
      tokens.push({ id, logprob: logProbability(row.logits, id, row.logSumExp), depth: this.layers })
      this.drafting.judged(sureness, accepted)
      this.counted.judged[sureness.source]++
      if (!accepted) {
        sequence.truncate(this.base + tokens.length)
        standing = false
        break
      }
      this.counted.accepted[sureness.source]++
    }
    if (standing) tokens.push(this.next(result))
    this.counted.passes++
    this.counted.tokens += tokens.length
    this.counted.fullMs += tokens.length * this.drafting.fullMs
    this.drafting.emitted(tokens.length)
    return this.stand(sequence, tokens)
  }

  end(): void {
    this.drafting.leave(this)
  }

  /** Has the next pass verify the first tokens that the text proposes. */
  private propose(count: number): void {
    const { matched } = this.proposal ?? { matched: 0 }
    for (const [i, id] of this.proposed.slice(0, count).entries()) {
      this.drafts.push({ id, q: certain(id), sureness: { source: 'text', matched: matched + i } })
    }
  }

  private next(result: StepResult): Emission {
    return { ...this.sampler.sample(result.logits, result), depth: this.layers }
  }

  private stand(sequence: Sequence, tokens: Emission[]): Emission[] {
    this.drafts = []
    this.drafted.length = 0
    this.generated += tokens.length
    this.base = sequence.length
    for (const { id } of tokens) this.ngrams.push(id)
    const match = this.ngrams.match()
    this.proposed = match === null ? [] : this.ngrams.continuation(match, MOST_DRAFTS)
    this.proposal = match && { count: this.proposed.length, matched: match.length }
    return tokens
  }
}

function certain(id: number): Distribution {
  return { ids: Int32Array.of(id), probabilities: Float64Array.of(1) }
}
