import { InputError } from '../../errors.js'

/** Drafts that one sequence may have waiting at most: with more, a layer would run its last row ahead of the others. */
export const MOST_DRAFTS = 15

/** Tokens that a sequence's own text proposes: what followed where its end occurred before. */
export interface Proposal {
  readonly count: number
  /** Tokens at the text's end that are the same there; before the i-th proposed token they are i more. */
  readonly matched: number
}

/** A sequence that drafts, as the group sees it. */
export interface DraftMember {
  /** Probabilities that the draft gave the tokens that wait to be verified. */
  readonly drafted: readonly number[]
  /** Looked at where no draft waits. */
  readonly proposal: Proposal | null
}

/** What a member does in a step: it drafts a token by its depth, or has the full model verify what it drafted. */
export type Move =
  | { readonly kind: 'draft' }
  /** @param proposed so many of the tokens that the text proposes are verified with the others */
  | { readonly kind: 'verify'; readonly proposed: number }

/** How sure the source of a draft was of it. */
export type Sureness =
  | { readonly source: 'depth'; readonly probability: number }
  | { readonly source: 'text'; readonly matched: number }

/** Says for all sequences of one policy how long they draft before the full model verifies. */
export interface Drafting {
  join(member: DraftMember): void
  leave(member: DraftMember): void
  /** What a member does in the step that is being put together. */
  next(member: DraftMember): Move
  /** Tells what a member feeds in this step: a draft, or rows that end at full depth. */
  feeds(kind: Move['kind'], rows: number): void
  /**
   * The step is over; the first member to say so counts.
   * @param batch feeds that it had in all
   */
  ran(batch: number): void
  /** Tells the verdict on a drafted token. */
  judged(sureness: Sureness, accepted: boolean): void
  /** Tells that a member's tokens stand. */
  emitted(tokens: number): void
  /** What a step at full depth takes for one row of each member, in ms; NaN where it is not known. */
  readonly fullMs: number
}

export interface DraftingOptions {
  /** Whether the policy leaves layers out, and so can draft; else only the text does. Default true. */
  readonly byDepth?: boolean
}

/** The same number of drafts before every pass: the policy's, or the text's where the policy runs every layer. */
class FixedDrafting implements Drafting {
  readonly fullMs = Number.NaN

  constructor(
    private readonly drafts: number,
    private readonly byDepth: boolean,
  ) {}

  next({ drafted, proposal }: DraftMember): Move {
    if (!this.byDepth) return { kind: 'verify', proposed: Math.min(this.drafts, proposal?.count ?? 0) }
    return drafted.length < this.drafts ? { kind: 'draft' } : { kind: 'verify', proposed: 0 }
  }

  join(): void {}
  leave(): void {}
  feeds(): void {}
  ran(): void {}
  judged(): void {}
  emitted(): void {}
}

/** Throws InputError where so many drafts cannot wait. */
export function checkDrafts(drafts: number): void {
  if (!Number.isInteger(drafts) || drafts < 1 || drafts > MOST_DRAFTS) {
    throw new InputError(`drafts must be a whole number from 1 to ${MOST_DRAFTS}`)
  }
}

/** @param drafts as `checkDrafts` wants them */
export function fixedDrafting(drafts: number, { byDepth = true }: DraftingOptions = {}): Drafting {
  checkDrafts(drafts)
  return new FixedDrafting(drafts, byDepth)
}
