import type { Sequence } from '../cache/sequence.js'
import type { SequenceDepth, TokenDepth } from '../plan/token-depth.js'
import type { Feed, StepResult } from '../run/step.js'
import type { Sampler } from './sampler.js'

/** A token that stands: what a decoder gives once nothing can take it back. */
export interface Emission {
  readonly id: number
  /** ln P(id) of the layer that it came from, at temperature 1. */
  readonly logprob: number
  readonly depth: number
}

/** What of a feed a decoder decides. */
export type DecoderFeed = Pick<Feed, 'ids' | 'depth' | 'logitsFrom'>

/** Decides what a sequence is fed after its prompt, and which tokens come out of it. */
export interface Decoder {
  /** How deep the prompt's own pass goes. */
  readonly prompt: TokenDepth
  /**
   * @param last the newest token that stands; it has not been fed yet
   * @param room tokens that may still be emitted; the context has place for as many
   */
  feed(sequence: Sequence, last: number, room: number): DecoderFeed
  /** Takes what a step gave, the prompt's own included. */
  accept(sequence: Sequence, result: StepResult): readonly Emission[]
  /** The sequence takes part in no further step. */
  end(): void
}

/** One token a step, from the layer that the policy stops it at. */
export class PlainDecoder implements Decoder {
  readonly prompt: TokenDepth
  private generated = 0

  /** @param promptLength tokens in the prompt */
  constructor(
    private readonly sampler: Sampler,
    private readonly depth: SequenceDepth,
    private readonly promptLength: number,
  ) {
    this.prompt = depth.next(promptLength - 1, 0)
  }

  feed(_sequence: Sequence, last: number): DecoderFeed {
    const { generated } = this
    return { ids: [last], depth: this.depth.next(this.promptLength - 1 + generated, generated) }
  }

  accept(_sequence: Sequence, result: StepResult): Emission[] {
    if (this.generated === 0) this.depth.observePrompt(result.logits)
    this.generated++
    return [{ ...this.sampler.sample(result.logits, result), depth: result.depth }]
  }

  end(): void {}
}
