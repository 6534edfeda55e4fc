import { RowCosts } from '../run/row-costs.js'
import { Acceptance } from './acceptance.js'
import {
  type Drafting,
  type DraftingOptions,
  type DraftMember,
  MOST_DRAFTS,
  type Move,
  type Sureness,
} from './drafting.js'

/** Intervals of the draft's own probability for a drawn token, each with its own rate of acceptance. */
const PROBABILITY_GRADES = 10
/** From so many tokens on, matches have a rate together with those that are less than twice as long. */
const MATCH_GRADES = [1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32]
/** Cycles with drafts after which a token runs at full depth, so that it is known what that takes. */
const COMPARE_AFTER = 64
/**
 * What one more row is taken to cost, as a share of a row, where drafts have lost more than trials may: about what it costs on
 * processors (2.5 to 2.9 for four rows and 4.5 to 4.9 for eight, SmolLM2 q4_1 and Gemma 3 Q4_K_M on two cores of an EPYC).
 */
const CAREFUL_GUESS = 0.5
/** What trials of drafts may lose where drafting does not pay, as a share of the time at full depth. */
const TRIALS = 0.01

const DRAFT: Move = { kind: 'draft' }
const VERIFY: Move = { kind: 'verify', proposed: 0 }

interface Step {
  readonly started: number
  readonly next: (member: DraftMember) => Move
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
  /** Whether the pass verified what the text proposed. */
  proposed: boolean
  tokens: number
}

/** How much of their proposals the members have verified, and the tokens per ms that it is expected to give. */
interface Pick {
  readonly proposed: ReadonlyMap<DraftMember, number>
  readonly pace: number
}

/**
 * Sequences draft together, as many tokens as make tokens come fastest. How many drafts stand is their rate of acceptance
 * so far, told apart by how sure their source was; what they cost is measured. What the text proposes costs rows of the pass
 * that verifies and no step of its own, so it goes first where it promises more than drafts by depth. Where no number of drafts
 * pays, tokens run at full depth, and drafts are tried as often as TRIALS allows.
 */
export class AdaptiveDrafting implements Drafting {
  private readonly members = new Set<DraftMember>()
  private readonly draftCosts = new RowCosts()
  private readonly fullCosts = new RowCosts()
  private readonly ofDepth = new Acceptance(Array.from({ length: PROBABILITY_GRADES }, () => null))
  private readonly ofText = new Acceptance(MATCH_GRADES.map(priorOf))
  private step: Step | null = null
  /** When the step before ended; null where this one does not follow on it. */
  private ended: number | null = null
  private cycle = newCycle()
  private sinceFull = 0
  /** What drafting has lost, in ms, less what trials may lose; below zero a trial is due. */
  private lost = 0
  private readonly now: () => number
  private readonly byDepth: boolean

  /** @param now a clock in ms */
  constructor({ byDepth = true, now = () => performance.now() }: DraftingOptions & { now?: () => number } = {}) {
    this.byDepth = byDepth
    this.now = now
  }

  join(member: DraftMember): void {
    this.members.add(member)
    this.ended = null
  }

  leave(member: DraftMember): void {
    this.members.delete(member)
    this.ended = null
  }

  next(member: DraftMember): Move {
    return this.open().next(member)
  }

  feeds(kind: Move['kind'], rows: number): void {
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
      this.cycle.proposed = this.cycle.drafts === 0 && step.rows > step.feeds
    }
  }

  judged(sureness: Sureness, accepted: boolean): void {
    if (sureness.source === 'depth') this.ofDepth.note(probabilityGrade(sureness.probability), accepted)
    else this.ofText.note(matchGrade(sureness.matched), accepted)
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
    const { drafts, rows, proposed, tokens } = this.cycle
    this.cycle = newCycle()
    const drafted = drafts > 0 || proposed
    this.sinceFull = drafted ? this.sinceFull + 1 : 0
    const n = this.members.size
    const fullMs = (tokens * this.fullCosts.of(n)) / n
    // What is known of the steps, not what these took: a busy moment is no loss of the drafts.
    const ms = drafts * this.draftMs(n) + this.fullCosts.of(rows)
    if (Number.isNaN(ms - fullMs)) return
    this.lost = Math.max(0, this.lost + (drafted ? ms - fullMs : 0)) - TRIALS * fullMs
  }

  private decide(): (member: DraftMember) => Move {
    const n = this.members.size
    const drafted = [...this.members].map((member) => member.drafted)
    if (drafted.every((d) => d.length === 0)) return this.begin(n)
    const room = MOST_DRAFTS - Math.max(...drafted.map((d) => d.length))
    const pace = this.draftingPace(n)
    // A trial is one draft.
    const pays = room > 0 && pace > n / this.fullCosts.of(n) && this.promise(drafted, room) > pace
    return () => (pays ? DRAFT : VERIFY)
  }

  /** The first step of a cycle. */
  private begin(n: number): Step['next'] {
    if (!this.fullCosts.has(n) || this.sinceFull >= COMPARE_AFTER) return () => VERIFY
    const full = n / this.fullCosts.of(n)
    const text = this.pick(n, MOST_DRAFTS * n)
    const depth = this.byDepth ? this.draftingPace(n) : 0
    if (Math.max(text.pace, depth) > full) return text.pace >= depth ? proposing(text) : () => DRAFT
    if (this.lost >= 0) return () => VERIFY
    const trial = this.pick(n, 1)
    return trial.pace >= depth ? proposing(trial) : () => DRAFT
  }

  /** The part of all proposals that makes tokens come fastest: one token at least, where there is any. */
  private pick(n: number, most: number): Pick {
    const drafts = [...this.members].flatMap((member) => this.hopes(member).map((hope) => ({ member, hope })))
    // A member's hopes never rise, so that the first of all are the first of each.
    drafts.sort((a, b) => b.hope - a.hope)
    const guess = this.lost > 0 ? CAREFUL_GUESS : undefined
    let best = { count: 0, pace: 0 }
    let tokens = n
    for (const [i, { hope }] of drafts.slice(0, most).entries()) {
      tokens += hope
      const pace = tokens / this.fullCosts.of(n + i + 1, guess)
      if (pace > best.pace) best = { count: i + 1, pace }
    }
    const proposed = new Map<DraftMember, number>()
    for (const { member } of drafts.slice(0, best.count)) proposed.set(member, (proposed.get(member) ?? 0) + 1)
    return { proposed, pace: best.pace }
  }

  /** For each token that the text proposes, the probability that it and all before it stand. */
  private hopes({ proposal }: DraftMember): number[] {
    if (proposal === null) return []
    let hope = 1
    return Array.from({ length: Math.min(MOST_DRAFTS, proposal.count) }, (_, i) => {
      hope *= this.ofText.rateOf(matchGrade(proposal.matched + i))
      return hope
    })
  }

  /** Tokens per ms of n sequences that draft the best number of tokens, one at least. */
  private draftingPace(n: number): number {
    const { rate } = this.ofDepth
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
    const rateOf = (p: number): number => this.ofDepth.rateOf(probabilityGrade(p))
    const hope = drafted.reduce((sum, d) => sum + d.reduce((all, p) => all * rateOf(p), 1), 0)
    const { rate } = this.ofDepth
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
}

function proposing({ proposed }: Pick): Step['next'] {
  return (member) => ({ kind: 'verify', proposed: proposed.get(member) ?? 0 })
}

function newCycle(): Cycle {
  return { drafts: 0, rows: 0, proposed: false, tokens: 0 }
}

function probabilityGrade(probability: number): number {
  return Math.min(PROBABILITY_GRADES - 1, Math.floor(probability * PROBABILITY_GRADES))
}

/**
 * Of what follows on so many equal tokens. In texts of three models, copied to freely written (those of `npm run
 * bench:lossless`), 0.59 of 171 proposals stood after two tokens, 0.61 of 115 after three, 0.73 after four, 0.92 after eight and
 * 0.99 from sixteen on.
 */
function priorOf(matched: number): number {
  return 1 - 1 / matched
}

function matchGrade(matched: number): number {
  return MATCH_GRADES.findLastIndex((from) => from <= matched)
}
