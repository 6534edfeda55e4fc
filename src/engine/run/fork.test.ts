import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { largestDifference, rowOf } from '../../../test/compare.js'
import { type OpenedEngine, openEngine, resultOf } from '../../../test/open-engine.js'
import { useWorkspace } from '../../../test/workspace.js'
import { allLayers } from '../../depth/plan.js'
import type { Sequence } from '../cache/sequence.js'
import type { TokenDepth } from '../plan/token-depth.js'

// A fork and what it was made from go on as if each had run alone from the start, wherever tokens left before and after.

const TOLERANCE = 1e-4
const LAYERS = 5
const VOCABULARY = 48

const workspace = useWorkspace()
let opened: OpenedEngine
beforeAll(async () => {
  const { folder } = await workspace.random(1, { layers: LAYERS, kvHeads: 2, vocabulary: VOCABULARY, hidden: 24 })
  opened = await openEngine(folder, { cacheDir: workspace.folder })
})
afterAll(() => opened.dispose())

/** Stops after layer `stop`, found at a check or known beforehand. */
function stopAt(stop: number, checked: boolean): TokenDepth {
  const common = { kind: 'exit', needs: {}, checkTokens: null, mayStop: true } as const
  return checked
    ? { ...common, checks: new Set(allLayers(LAYERS - 1)), last: LAYERS - 1, exits: ({ layer }) => layer === stop }
    : { ...common, checks: new Set(), last: stop, exits: () => false }
}

/** One text on its way, and what the engine said along it. */
interface Branch {
  readonly sequence: Sequence
  readonly ids: number[]
  readonly said: { readonly position: number; readonly depth: number; readonly logits: Float32Array }[]
}

async function feed(branches: readonly Branch[], ids: readonly (readonly number[])[], depths: readonly TokenDepth[]) {
  const outcomes = await opened.engine.step(
    branches.map((b, i) => ({ sequence: b.sequence, ids: ids[i]!, depth: depths[i]! })),
  )
  branches.forEach((b, i) => {
    b.ids.push(...ids[i]!)
    const { logits, depth } = resultOf(outcomes[i])
    b.said.push({ position: b.ids.length - 1, depth, logits: logits.slice() })
  })
}

function fork(branch: Branch): Branch {
  return { sequence: branch.sequence.fork(), ids: [...branch.ids], said: [] }
}

/** Everything that was said along a text, beside a run of the text with every layer. */
async function check({ ids, said }: Branch): Promise<void> {
  const sequence = opened.engine.createSequence()
  const lens = Array.from({ length: LAYERS }, () => new Float32Array(ids.length * VOCABULARY))
  const places = ids.map((_, position) => ({ sequence, position }))
  await opened.engine.rise([{ sequence, ids }], { layers: allLayers(LAYERS) }, async (now) => {
    if (now.layer >= 0)
      await now.head(places, (position, logits) => lens[now.layer]!.set(logits, position * VOCABULARY))
  })
  sequence.dispose()
  for (const { position, depth, logits } of said) {
    const expected = rowOf(lens[depth - 1]!, position, VOCABULARY)
    expect(largestDifference(logits, expected), `position ${position} at depth ${depth}`).toBeLessThan(TOLERANCE)
  }
}

const id = fc.nat(VOCABULARY - 1)
const exit = fc.record({ stop: fc.nat(LAYERS - 1), checked: fc.boolean() })
const move = fc.record({
  /** Which texts are forked before the step, and which leave. */
  forks: fc.array(fc.nat(5), { maxLength: 2 }),
  leaves: fc.option(fc.nat(5), { freq: 4 }),
  feeds: fc.array(fc.record({ ids: fc.array(id, { minLength: 1, maxLength: 3 }), exit }), {
    minLength: 6,
    maxLength: 6,
  }),
})

describe('a forked sequence', () => {
  it('is exact, and so is the one that it came from, for random exits, forks and leaves', async () => {
    const programs = fc.record({
      prompt: fc.oneof(
        fc.array(id, { minLength: 1, maxLength: 40, size: 'max' }),
        fc.array(id, { minLength: 245, maxLength: 290, size: 'max' }),
      ),
      first: exit,
      moves: fc.array(move, { minLength: 1, maxLength: 8 }),
    })
    await fc.assert(
      fc.asyncProperty(programs, async ({ prompt, first, moves }) => {
        let live: Branch[] = [{ sequence: opened.engine.createSequence(), ids: [], said: [] }]
        const gone: Branch[] = []
        try {
          await feed(live, [prompt], [stopAt(first.stop, first.checked)])
          for (const { forks, leaves, feeds } of moves) {
            const leaving = leaves === null || live.length === 1 ? undefined : live[leaves % live.length]
            if (leaving !== undefined) {
              leaving.sequence.dispose()
              gone.push(leaving)
              live = live.filter((b) => b !== leaving)
            }
            for (const which of forks) if (live.length < 6) live.push(fork(live[which % live.length]!))
            await feed(
              live,
              live.map((_, i) => feeds[i]!.ids),
              live.map((_, i) => stopAt(feeds[i]!.exit.stop, feeds[i]!.exit.checked)),
            )
            for (const { sequence } of live)
              expect([...sequence.cached]).toEqual([...sequence.cached].sort((a, b) => b - a))
          }
          await feed(
            live,
            live.map(() => [3]),
            live.map(() => stopAt(LAYERS - 1, false)),
          )
        } finally {
          for (const b of live) b.sequence.dispose()
        }
        for (const b of [...live, ...gone]) await check(b)
      }),
      { seed: 7, numRuns: 15 },
    )
  })

  it("has a skip plan's gaps too, and says bit for bit what the other one says", async () => {
    for (const length of [9, 300]) {
      const a: Branch = { sequence: opened.engine.createSequence(), ids: [], said: [] }
      const plan: TokenDepth = { kind: 'plan', layers: [0, 2, 4] }
      await feed(
        [a],
        [Array.from({ length }, (_, i) => (i * i + 5) % VOCABULARY)],
        [{ ...plan, layers: allLayers(LAYERS) }],
      )
      await feed([a], [[7]], [plan])
      const b = fork(a)
      expect([...b.sequence.cached]).toEqual([...a.sequence.cached])
      for (const next of [4, 11]) {
        await feed([a], [[next]], [plan])
        await feed([b], [[next]], [plan])
        expect(b.said.at(-1)!.logits).toEqual(a.said.at(-1)!.logits)
      }
      a.sequence.dispose()
      b.sequence.dispose()
    }
  })

  it('of nothing is a new sequence, and leaves no trace in the other when it goes', async () => {
    const empty = opened.engine.createSequence()
    const a: Branch = { sequence: empty.fork(), ids: [], said: [] }
    empty.dispose()
    await feed([a], [[1, 2, 3, 4]], [stopAt(1, true)])
    const b = fork(a)
    expect(b.sequence.waiting).toBe(4)
    b.sequence.dispose()
    expect(b.sequence.waiting).toBe(0)
    expect(a.sequence.waiting).toBe(4)
    await feed([a], [[5]], [stopAt(4, true)])
    await check(a)
    a.sequence.dispose()
  })
})
