import { InputError } from '../errors.js'
import { RowCosts } from './row-costs.js'

/** Drafts that one sequence may have waiting at most: with more, a layer would run its last row ahead of the others. */
export const MOST_DRAFTS = 15

/** Intervals of the draft's own probability for a drawn token, each with its own rate of acceptance. */
const BUCKETS = 10
/** How many verdicts a rate remembers. */
const MEMORY = 64
/** Before anything is known, and as much as this many verdicts. */
const PRIOR = { rate: 0.7, weight: 4 }
/** Cycles that a pace must be measured over before it counts, and how much of it the next cycle keeps. */
const TRIAL = 3
const KEPT = 0.95
/** Cycles with drafts after which a token runs at full depth, so that it is known what that takes. */
const COMPARE_AFTER = 32
/** Tokens at full depth after which a draft is tried again; twice as many each time that it does not pay. */
const PROBE_AFTER = 96
const MOST_PROBE_AFTER = 1536

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

/** Tokens of cycles with drafts, all members together, and what they took. */
interface Pace {
  tokens: number
  ms: number
  cycles: number
}

/**
 * Sequences draft together, as long as the tokens that further drafts promise come faster than tokens come at present. What
 * drafts promise is their rate of acceptance so far, told apart by how sure the draft was; what they cost is measured. Where
 * no number of drafts pays, tokens run at full depth, and drafting is tried again from time to time.
 */
export class AdaptiveDrafting implements Drafting {
  private readonly members = new Set<DraftMember>()
  private readonly draftCosts = new RowCosts()
  private readonly fullCosts = new RowCosts()
  private readonly buckets = Array.from({ length: BUCKETS }, () => ({ accepted: 0, judged: 0 }))
  private readonly all = { accepted: PRIOR.rate * PRIOR.weight, judged: PRIOR.weight }
  /** By the number of members. */
  private readonly paces = new Map<number, Pace>()
  private step: Step | null = null
  /** When the step before ended; null where this one does not follow on it. */
  private ended: number | null = null
  private cycle = newCycle()
  private sinceFull = 0
  private sinceDraft = 0
  private probeAfter = PROBE_AFTER

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
    if (step.drafts === step.feeds) this.draftCosts.note(step.rows, ms)
    if (step.drafts === 0) {
      this.cycle.first ||= !this.fullCosts.has(step.rows)
      this.fullCosts.note(step.rows, ms)
    }
    this.cycle.drafted ||= step.drafts > 0
    this.cycle.ms += ms
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
    const { ms, tokens, drafted, first } = this.cycle
    this.cycle = newCycle()
    this.sinceFull = drafted ? this.sinceFull + 1 : 0
    this.sinceDraft = drafted ? 0 : this.sinceDraft + 1
    if (!drafted || first || ms === 0) return
    const pace = this.paces.get(this.members.size) ?? { tokens: 0, ms: 0, cycles: 0 }
    this.paces.set(this.members.size, {
      tokens: pace.tokens * KEPT + tokens,
      ms: pace.ms * KEPT + ms,
      cycles: pace.cycles + 1,
    })
  }

  private decide(): 'draft' | 'verify' {
    const n = this.members.size
    const drafted = [...this.members].map((member) => member.drafted)
    const room = MOST_DRAFTS - Math.max(...drafted.map((d) => d.length))
    const fresh = drafted.every((d) => d.length === 0)
    if (room <= 0) return 'verify'
    if (fresh && (!this.fullCosts.has(n) || this.sinceFull >= COMPARE_AFTER)) return 'verify'
    const fullPace = n / this.fullCosts.of(n)
    if (fresh && this.sinceDraft >= this.probeAfter) {
      this.probeAfter = Math.min(2 * this.probeAfter, MOST_PROBE_AFTER)
      this.paces.delete(n)
      return 'draft'
    }
    const measured = this.paces.get(n)
    const pace = measured === undefined || measured.cycles < TRIAL ? 0 : measured.tokens / measured.ms
    if (pace > fullPace) this.probeAfter = PROBE_AFTER
    if (fresh && pace > 0 && pace < fullPace) return 'verify'
    // Before the first draft the choice is between drafts and a token at full depth; after it, the next cycle waits.
    return this.promise(drafted, room) > (fresh ? fullPace : Math.max(fullPace, pace)) ? 'draft' : 'verify'
  }

  /** Tokens per ms that the best number of further drafts promises. */
  private promise(drafted: readonly (readonly number[])[], room: number): number {
    const n = drafted.length
    const rows = drafted.reduce((sum, d) => sum + d.length + 1, 0)
    const draftMs = this.draftCosts.of(n)
    const perDraft = Number.isNaN(draftMs) ? this.fullCosts.of(n) / 2 : draftMs
    const hope = drafted.reduce((sum, d) => sum + d.reduce((all, p) => all * this.rateAt(p), 1), 0)
    const rate = this.all.accepted / this.all.judged
    let best = 0
    let tokens = 0
    for (let more = 1; more <= room; more++) {
      tokens += hope * rate ** more
      const ms = more * perDraft + this.fullCosts.of(rows + more * n) - this.fullCosts.of(rows)
      best = Math.max(best, tokens / ms)
    }
    return best
  }

  private rateAt(probability: number): number {
    const { accepted, judged } = this.buckets[bucketOf(probability)]!
    const mean = this.all.accepted / this.all.judged
    return (accepted + PRIOR.weight * mean) / (judged + PRIOR.weight)
  }
}

/** @returns what happens from one pass of the full model to the next; `first` where the pass is the first of its rows */
function newCycle(): { ms: number; tokens: number; drafted: boolean; first: boolean } {
  return { ms: 0, tokens: 0, drafted: false, first: false }
}

function bucketOf(probability: number): number {
  return Math.min(BUCKETS - 1, Math.floor(probability * BUCKETS))
}
