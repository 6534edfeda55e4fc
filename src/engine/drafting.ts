import { InputError } from '../errors.js'
import { RowCosts } from './row-costs.js'

/** Drafts that one sequence may have waiting at most: with more, a layer would run its last row ahead of the others. */
export const MOST_DRAFTS = 15

/** Intervals of the draft's own probability for a drawn token, each with its own rate of acceptance. */
const BUCKETS = 10
/** How many verdicts a rate remembers. */
const MEMORY = 256
/** Before anything is known, and as much as this many verdicts. */
const PRIOR = { rate: 0.7, weight: 4 }
/** Cycles with drafts after which a token runs at full depth, so that it is known what that takes. */
const COMPARE_AFTER = 64
/** What trials of drafts may lose where drafting does not pay, as a share of the time at full depth. */
const TRIALS = 0.01

/** A sequence that drafts, as the group sees it. */
export interface DraftMember {
  /** Probabilities that the draft gave the tokens that wait to be verified. */
  readonly drafted: readonly number[]
}

/** Says for all sequences of one policy how long they draft before the full model verifies. */
export interface Drafting {
  join(member: DraftMember): void
  leave(member: DraftMember): void
  /** What a member does in the step that is being put together. */
  next(member: DraftMember): 'draft' | 'verify'
  /** Tells what a member feeds in this step: a draft, or rows that end at full depth. */
  feeds(kind: 'draft' | 'verify', rows: number): void
  /**
   * The step is over; the first member to say so counts.
   * @param batch feeds that it had in all
   */
  ran(batch: number): void
  /** Tells the verdict on a drafted token. */
  judged(probability: number, accepted: boolean): void
  /** Tells that a member's tokens stand. */
  emitted(tokens: number): void
  /** What a step at full depth takes for one row of each member, in ms; NaN where it is not known. */
  readonly fullMs: number
}

/** The same number of drafts before every pass. */
class FixedDrafting implements Drafting {
  readonly fullMs = Number.NaN

  constructor(private readonly drafts: number) {}

  next({ drafted }: DraftMember): 'draft' | 'verify' {
    return drafted.length < this.drafts ? 'draft' : 'verify'
  }

  join(): void {}
  leave(): void {}
  feeds(): void {}
  ran(): void {}
  judged(): void {}
  emitted(): void {}
}

/** Throws InputError where so many drafts cannot wait. */
export function fixedDrafting(drafts: number): Drafting {
  if (!Number.isInteger(drafts) || drafts < 1 || drafts > MOST_DRAFTS) {
    throw new InputError(`drafts must be a whole number from 1 to ${MOST_DRAFTS}`)
  }
  return new FixedDrafting(drafts)
}

interface Step {
  readonly started: number
  readonly next: 'draft' | 'verify'
  drafts: number
  feeds: number
  rows: number
}

/** What happens from one pass of the full model to the next. */
interface Cycle {
  /** Steps that only drafted. */
  drafts: number
  /** Rows of the pass that ends the cycle. */
  rows: number
  tokens: number
}

/**
 * Sequences draft together, as many tokens as make tokens come fastest. How many drafts stand is their rate of acceptance
 * so far, told apart by how sure the draft was; what they cost is measured. Where no number of drafts pays, tokens run at
 * full depth, and drafts are tried as often as TRIALS allows.
 */
export class AdaptiveDrafting implements Drafting {
  private readonly members = new Set<DraftMember>()
  private readonly draftCosts = new RowCosts()
  private readonly fullCosts = new RowCosts()
  private readonly buckets = Array.from({ length: BUCKETS }, () => ({ accepted: 0, judged: 0 }))
  private readonly all = { accepted: PRIOR.rate * PRIOR.weight, judged: PRIOR.weight }
  private step: Step | null = null
  /** When the step before ended; null where this one does not follow on it. */
  private ended: number | null = null
  private cycle = newCycle()
  private sinceFull = 0
  /** What drafting has lost, in ms, less what trials may lose; below zero a trial is due. */
  private lost = 0

  /** @param now a clock in ms */
  constructor(private readonly now: () => number = () => performance.now()) {}

  join(member: DraftMember): void {
    this.members.add(member)
    this.ended = null
  }

  leave(member: DraftMember): void {
    this.members.delete(member)
    this.ended = null
  }

  next(): 'draft' | 'verify' {
    return this.open().next
  }

  feeds(kind: 'draft' | 'verify', rows: number): void {
    const step = this.open()
    step.feeds++
    step.rows += rows
    if (kind === 'draft') step.drafts++
  }

  ran(batch: number): void {
    const { step } = this
    if (step === null) return
    this.step = null
    const now = this.now()
    const ms = now - step.started
    // A step in which others took part, a prompt or another policy, says nothing about drafts.
    this.ended = step.feeds === batch ? now : null
    if (step.feeds !== batch) return
    if (step.drafts === step.feeds) {
      this.draftCosts.note(step.rows, ms)
      this.cycle.drafts++
    }
    if (step.drafts === 0) {
      this.fullCosts.note(step.rows, ms)
      this.cycle.rows = step.rows
    }
  }

  judged(probability: number, accepted: boolean): void {
    for (const rate of [this.all, this.buckets[bucketOf(probability)]!]) {
      if (rate.judged >= MEMORY) {
        rate.accepted *= 1 - 1 / MEMORY
        rate.judged *= 1 - 1 / MEMORY
      }
      rate.judged++
      if (accepted) rate.accepted++
    }
  }

  emitted(tokens: number): void {
    this.cycle.tokens += tokens
  }

  get fullMs(): number {
    return this.fullCosts.of(this.members.size)
  }

  private open(): Step {
    if (this.step === null) {
      if (this.cycle.tokens > 0) this.closeCycle()
      this.step = { started: this.ended ?? this.now(), next: this.decide(), drafts: 0, feeds: 0, rows: 0 }
    }
    return this.step
  }

  private closeCycle(): void {
    const { drafts, rows, tokens } = this.cycle
    this.cycle = newCycle()
    this.sinceFull = drafts > 0 ? this.sinceFull + 1 : 0
    const n = this.members.size
    const fullMs = (tokens * this.fullCosts.of(n)) / n
    // What is known of the steps, not what these took: a busy moment is no loss of the drafts.
    const ms = drafts * this.draftMs(n) + this.fullCosts.of(rows)
    if (Number.isNaN(ms - fullMs)) return
    this.lost = Math.max(0, this.lost + (drafts > 0 ? ms - fullMs : 0)) - TRIALS * fullMs
  }

  private decide(): 'draft' | 'verify' {
    const n = this.members.size
    const drafted = [...this.members].map((member) => member.drafted)
    const room = MOST_DRAFTS - Math.max(...drafted.map((d) => d.length))
    if (room <= 0) return 'verify'
    const fresh = drafted.every((d) => d.length === 0)
    if (fresh && (!this.fullCosts.has(n) || this.sinceFull >= COMPARE_AFTER)) return 'verify'
    const pace = this.draftingPace(n)
    const pays = pace > n / this.fullCosts.of(n)
    if (fresh) return pays || this.lost < 0 ? 'draft' : 'verify'
    // A trial is one draft.
    return pays && this.promise(drafted, room) > pace ? 'draft' : 'verify'
  }

  /** Tokens per ms of n sequences that draft the best number of tokens, one at least. */
  private draftingPace(n: number): number {
    const rate = this.all.accepted / this.all.judged
    let best = 0
    let tokens = n
    for (let drafts = 1; drafts <= MOST_DRAFTS; drafts++) {
      tokens += n * rate ** drafts
      best = Math.max(best, tokens / (drafts * this.draftMs(n) + this.fullCosts.of((drafts + 1) * n)))
    }
    return best
  }

  /** Tokens per ms that the best number of further drafts adds. */
  private promise(drafted: readonly (readonly number[])[], room: number): number {
    const n = drafted.length
    const rows = drafted.reduce((sum, d) => sum + d.length + 1, 0)
    const hope = drafted.reduce((sum, d) => sum + d.reduce((all, p) => all * this.rateAt(p), 1), 0)
    const rate = this.all.accepted / this.all.judged
    let best = 0
    let tokens = 0
    for (let more = 1; more <= room; more++) {
      tokens += hope * rate ** more
      const ms = more * this.draftMs(n) + this.fullCosts.of(rows + more * n) - this.fullCosts.of(rows)
      best = Math.max(best, tokens / ms)
    }
    return best
  }

  private draftMs(n: number): number {
    const known = this.draftCosts.of(n)
    return Number.isNaN(known) ? this.fullCosts.of(n) / 2 : known
  }

  private rateAt(probability: number): number {
    const { accepted, judged } = this.buckets[bucketOf(probability)]!
    const mean = this.all.accepted / this.all.judged
    return (accepted + PRIOR.weight * mean) / (judged + PRIOR.weight)
  }
}

function newCycle(): Cycle {
  return { drafts: 0, rows: 0, tokens: 0 }
}

function bucketOf(probability: number): number {
  return Math.min(BUCKETS - 1, Math.floor(probability * BUCKETS))
}
