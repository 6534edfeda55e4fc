import { describe, expect, it } from 'vitest'
import { AdaptiveDrafting } from './adaptive-drafting.js'
import { type Drafting, type DraftMember, fixedDrafting, MOST_DRAFTS, type Proposal } from './drafting.js'
import { createRandomStream } from './random-stream.js'

// Drafting on a clock of its own: what it gains is held against the best fixed number of drafts.

type Costs = (rows: number) => number

const CHEAP_ROWS: Costs = (rows) => 10 * (1 + 0.06 * (rows - 1))
const FOURS: Costs = (rows) => (rows === 1 ? 10 : 15.5 * Math.ceil(rows / 4))
const DEAR_ROWS: Costs = (rows) => 10 * (1 + 0.8 * (rows - 1))
const DRAFT_MS = 2

interface Outcome {
  readonly msPerToken: number
  readonly drafts: number
}

/** Tokens of `members` sequences whose drafts stand with a probability of their own, one after the other. */
function generate(
  costs: Costs,
  acceptance: number,
  options: {
    members?: number
    tokens?: number
    drafting?: AdaptiveDrafting
    clock?: { ms: number }
    /** What a step takes longer than it should. */
    busy?: () => number
  } = {},
): Outcome {
  const { members = 1, tokens = 4000, clock = { ms: 0 }, busy = () => 1 } = options
  const drafting: Drafting = options.drafting ?? new AdaptiveDrafting({ now: () => clock.ms })
  const random = createRandomStream(7)
  const all = Array.from({ length: members }, (): DraftMember & { drafted: number[] } => ({
    drafted: [],
    proposal: null,
  }))
  for (const member of all) drafting.join(member)
  const started = clock.ms
  let said = 0
  let drafts = 0
  while (said < tokens * members) {
    const next = all.map((member) => drafting.next(member))
    let verified = 0
    next.forEach(({ kind }, i) => {
      const rows = kind === 'draft' ? 1 : all[i]!.drafted.length + 1
      drafting.feeds(kind, rows)
      if (kind === 'verify') verified += rows
    })
    const drawn = next.filter(({ kind }) => kind === 'draft').length
    clock.ms += (verified > 0 ? costs(verified) : DRAFT_MS + 0.1 * (drawn - 1)) * busy()
    next.forEach(({ kind }, i) => {
      drafting.ran(members)
      const { drafted } = all[i]!
      if (kind === 'draft') {
        drafted.push(0.5)
        drafts++
        return
      }
      let stood = 0
      for (const probability of drafted) {
        const accepted = random() < acceptance
        drafting.judged({ source: 'depth', probability }, accepted)
        if (!accepted) break
        stood++
      }
      drafted.length = 0
      drafting.emitted(stood + 1)
      said += stood + 1
    })
  }
  for (const member of all) drafting.leave(member)
  return { msPerToken: (clock.ms - started) / said, drafts }
}

function bestMs(costs: Costs, acceptance: number): number {
  return Math.min(
    ...Array.from({ length: MOST_DRAFTS + 1 }, (_, drafts) => {
      const expected = (1 - acceptance ** (drafts + 1)) / (1 - acceptance)
      return (drafts * DRAFT_MS + costs(drafts + 1)) / expected
    }),
  )
}

describe('adaptive drafting', () => {
  it.each([
    ['cheap rows', CHEAP_ROWS],
    ['rows by fours', FOURS],
    ['dear rows', DEAR_ROWS],
  ] as const)('comes within 5% of the best number of drafts with %s, whatever stands', (_name, costs) => {
    for (const acceptance of [0.05, 0.3, 0.6, 0.8, 0.9, 0.97]) {
      const { msPerToken } = generate(costs, acceptance)
      expect(bestMs(costs, acceptance) / msPerToken, `acceptance ${acceptance}`).toBeGreaterThan(0.95)
    }
  })

  it.each([64, 128, 1000])(
    'is never slower than 0.97 of full depth over %i tokens where drafts do not pay',
    (tokens) => {
      const clock = { ms: 0 }
      const drafting = new AdaptiveDrafting({ now: () => clock.ms })
      // A model learns once, and remembers it for the texts that follow.
      generate(DEAR_ROWS, 0.4, { tokens: 256, drafting, clock })
      for (let text = 0; text < 10; text++) {
        const { msPerToken } = generate(DEAR_ROWS, 0.4, { tokens, drafting, clock })
        expect(DEAR_ROWS(1) / msPerToken).toBeGreaterThan(0.97)
      }
    },
  )

  it('is not led astray by a busy machine', () => {
    for (const acceptance of [0.05, 0.7, 0.8, 0.9]) {
      const random = createRandomStream(11)
      const { msPerToken } = generate(FOURS, acceptance, {
        busy: () => (random() < 0.02 ? 1.8 : 1) * (0.9 + 0.2 * random()),
      })
      expect((1.016 * bestMs(FOURS, acceptance)) / msPerToken, `acceptance ${acceptance}`).toBeGreaterThan(0.93)
    }
  })

  it('drafts again where drafts begin to stand', () => {
    const clock = { ms: 0 }
    const drafting = new AdaptiveDrafting({ now: () => clock.ms })
    generate(CHEAP_ROWS, 0.02, { tokens: 500, drafting, clock })
    const { msPerToken } = generate(CHEAP_ROWS, 0.95, { tokens: 4000, drafting, clock })
    expect(msPerToken).toBeLessThan(0.5 * CHEAP_ROWS(1))
  })

  it('gains in batches too', () => {
    const { msPerToken } = generate(CHEAP_ROWS, 0.9, { members: 4 })
    expect(msPerToken).toBeLessThan(0.8 * (CHEAP_ROWS(4) / 4))
  })
})

describe('what the text proposes', () => {
  /** Proposals of 15 tokens after so many equal ones, each of which stands with a probability of its own. */
  function copy(costs: Costs, acceptance: number, { members = 1, tokens = 3000, share = 1 } = {}): number {
    const clock = { ms: 0 }
    const random = createRandomStream(5)
    const drafting = new AdaptiveDrafting({ byDepth: false, now: () => clock.ms })
    const all = Array.from({ length: members }, () => ({ drafted: [], proposal: null as Proposal | null }))
    for (const member of all) drafting.join(member)
    let said = 0
    while (said < tokens * members) {
      for (const member of all) member.proposal = random() < share ? { count: MOST_DRAFTS, matched: 4 } : null
      const proposed = all.map((member) => {
        const move = drafting.next(member)
        const count = move.kind === 'verify' ? move.proposed : Number.NaN
        drafting.feeds('verify', count + 1)
        return count
      })
      clock.ms += costs(proposed.reduce((sum, count) => sum + count + 1, 0))
      for (const count of proposed) {
        drafting.ran(members)
        let stood = 0
        for (let accepted = true; accepted && stood < count; ) {
          accepted = random() < acceptance
          drafting.judged({ source: 'text', matched: 4 + stood }, accepted)
          if (accepted) stood++
        }
        drafting.emitted(stood + 1)
        said += stood + 1
      }
    }
    return clock.ms / said
  }

  /** Rows of a pass are all that a proposed token costs. */
  function bestCopyMs(costs: Costs, acceptance: number): number {
    return Math.min(
      ...Array.from({ length: MOST_DRAFTS + 1 }, (_, i) => {
        const expected = (1 - acceptance ** (i + 1)) / (1 - acceptance)
        return costs(i + 1) / expected
      }),
    )
  }

  it.each([
    ['cheap rows', CHEAP_ROWS],
    ['rows by fours', FOURS],
    ['dear rows', DEAR_ROWS],
  ] as const)('is verified as far as that pays with %s', (_name, costs) => {
    for (const acceptance of [0.05, 0.3, 0.6, 0.8, 0.9, 0.97]) {
      const ratio = bestCopyMs(costs, acceptance) / copy(costs, acceptance)
      expect(ratio, `acceptance ${acceptance}`).toBeGreaterThan(0.94)
    }
  })

  it('makes batches faster where only some members repeat themselves', () => {
    expect(copy(CHEAP_ROWS, 0.9, { members: 4, share: 0.5 })).toBeLessThan(0.7 * (CHEAP_ROWS(4) / 4))
  })

  it('loses nothing where nothing is proposed', () => {
    expect(copy(DEAR_ROWS, 0.9, { share: 0 })).toBe(DEAR_ROWS(1))
  })
})

describe('a fixed number of drafts', () => {
  it('is drafted before every pass', () => {
    const drafting = fixedDrafting(2)
    const moves = [[], [0.5], [0.5, 0.5]].map((drafted) => drafting.next({ drafted, proposal: null }).kind)
    expect(moves).toEqual(['draft', 'draft', 'verify'])
  })

  it('is what the text proposes where no layer is left out', () => {
    const drafting = fixedDrafting(4, { byDepth: false })
    const move = (proposal: Proposal | null) => drafting.next({ drafted: [], proposal })
    expect(move({ count: 15, matched: 2 })).toEqual({ kind: 'verify', proposed: 4 })
    expect(move({ count: 3, matched: 9 })).toEqual({ kind: 'verify', proposed: 3 })
    expect(move(null)).toEqual({ kind: 'verify', proposed: 0 })
  })

  it.each([0, 16, 1.5, Number.NaN])('cannot be %s', (drafts) => {
    expect(() => fixedDrafting(drafts)).toThrow(/drafts must be a whole number from 1 to 15/)
  })
})
