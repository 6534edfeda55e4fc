import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { largestDifference, rowOf } from '../../../test/compare.js'
import { type OpenedEngine, openEngine, resultOf } from '../../../test/open-engine.js'
import { useWorkspace } from '../../../test/workspace.js'
import { allLayers } from '../../depth/plan.js'
import type { ExitPolicy } from '../../depth/policy.js'
import type { Model } from '../api.js'
import type { Sequence } from '../cache/sequence.js'
import type { TokenDepth } from '../plan/token-depth.js'
import { Pauses } from './pauses.js'
import type { Feed, StepOutcome } from './step.js'

// Whatever stopped where before: a token that runs to the last layer gets the full model's logits, and one that stops
// below gets the lens logits of its layer.

const TOLERANCE = 1e-4
const LAYERS = 5
const VOCABULARY = 48
const SHAPE = { layers: LAYERS, kvHeads: 2, vocabulary: VOCABULARY, hidden: 24, feedForward: 32 }
const TEXTS = 4
const LONGEST = 288

const workspace = useWorkspace()
let opened: OpenedEngine
let texts: number[][]
/** lens[text][depth - 1]: [LONGEST, V] of the full model. */
let lens: Float32Array[][]

describe.each([
  ['as they are', (rows: number) => rows],
  ['filled up to fours', (rows: number) => 4 * Math.ceil(rows / 4)],
] as const)('rows %s', (_name, padding) => {
  beforeAll(async () => {
    const { folder } = await workspace.random(1, SHAPE)
    opened = await openEngine(folder, { cacheDir: workspace.folder, padding })
    texts = Array.from({ length: TEXTS }, (_, t) =>
      Array.from({ length: LONGEST }, (_, i) => (i * i * (t + 3) + 7 * t + 5 * i) % VOCABULARY),
    )
    lens = []
    for (const ids of texts) lens.push(await lensOf(ids))
  })
  afterAll(() => opened.dispose())

  async function lensOf(ids: readonly number[]): Promise<Float32Array[]> {
    const sequence = opened.engine.createSequence()
    const rows = Array.from({ length: LAYERS }, () => new Float32Array(ids.length * VOCABULARY))
    const places = ids.map((_, position) => ({ sequence, position }))
    await opened.engine.rise([{ sequence, ids }], { layers: allLayers(LAYERS) }, async (now) => {
      if (now.layer >= 0)
        await now.head(places, (position, logits) => rows[now.layer]!.set(logits, position * VOCABULARY))
    })
    sequence.dispose()
    return rows
  }

  const CHECKED = { kind: 'exit', needs: {}, checkTokens: null, mayStop: true } as const

  /** Stops after layer `stop`: known beforehand, or found at a check; -1 checks everywhere and never stops. */
  function stopAt(stop: number, how: 'beforehand' | 'checked'): TokenDepth {
    const never = { ...CHECKED, exits: () => false }
    if (stop < 0) return { ...never, checks: new Set(allLayers(LAYERS - 1)), last: LAYERS - 1 }
    if (how === 'beforehand') return { ...never, checks: new Set(), last: stop }
    return {
      ...CHECKED,
      checks: new Set(allLayers(LAYERS - 1)),
      last: LAYERS - 1,
      exits: ({ layer }) => layer === stop,
    }
  }

  /** What a sequence does in one step: how many tokens it is fed, and where the last one stops. */
  const turn = fc.record({
    tokens: fc.oneof(
      { weight: 5, arbitrary: fc.constant(1) },
      { weight: 1, arbitrary: fc.integer({ min: 2, max: 24 }) },
    ),
    stop: fc.integer({ min: -1, max: LAYERS - 1 }),
    how: fc.constantFrom('beforehand', 'checked'),
    /** Forgets that many positions before. */
    forget: fc.oneof(
      { weight: 8, arbitrary: fc.constant(0) },
      { weight: 1, arbitrary: fc.integer({ min: 1, max: 6 }) },
    ),
  })
  const program = fc.record({
    /** The step at which the sequence joins. */
    joins: fc.nat(6),
    prompt: fc.integer({ min: 1, max: 40 }),
    turns: fc.array(turn, { minLength: 1, maxLength: 10 }),
  })

  describe('the staircase', () => {
    /** All feeds in one step, or the first half in one that pauses for the others' after a compute. */
    async function stepAll(feeds: readonly Feed[], pausing: boolean, pauseAt: number): Promise<StepOutcome[]> {
      const { engine } = opened
      const half = feeds.length >> 1
      if (!pausing || half === 0) return engine.step(feeds)
      let others: StepOutcome[] | null = null
      let pause = 0
      const turn = async (): Promise<void> => {
        if (pause++ !== pauseAt) return
        others = await engine.step(feeds.slice(half))
      }
      const first = await engine.step(feeds.slice(0, half), new Pauses({ wait: () => true, turn }, 0))
      return [...first, ...(others ?? (await engine.step(feeds.slice(half))))]
    }

    it.each([
      ['', false],
      [', and steps in the pauses of others', true],
    ])('is exact for random exit programs, batches, joins and leaves%s', async (_and, pausing) => {
      let worst = 0
      let tokens = 0
      await fc.assert(
        fc.asyncProperty(fc.array(program, { minLength: 1, maxLength: TEXTS }), async (programs) => {
          const states = programs.map((p, text) => ({ ...p, text, sequence: null as Sequence | null, next: 0 }))
          try {
            for (let step = 0; states.some((s) => s.next < s.turns.length); step++) {
              const active = states.filter((s) => s.joins <= step && s.next < s.turns.length)
              const feeds = active.map((s) => {
                const { tokens, stop, how, forget } = s.turns[s.next]!
                s.sequence ??= opened.engine.createSequence()
                if (s.next > 0 && forget > 0) s.sequence.truncate(Math.max(1, s.sequence.length - forget))
                const from = s.sequence.length
                const count = s.next === 0 ? s.prompt : tokens
                return {
                  sequence: s.sequence,
                  ids: texts[s.text]!.slice(from, Math.min(LONGEST, from + count)),
                  depth: stopAt(stop, how),
                }
              })
              const outcomes = await stepAll(feeds, pausing, step % 4)
              active.forEach((s, i) => {
                const { logits, depth } = resultOf(outcomes[i])
                const { stop } = s.turns[s.next]!
                expect(depth).toBe(stop < 0 ? LAYERS : stop + 1)
                const position = s.sequence!.length - 1
                worst = Math.max(
                  worst,
                  largestDifference(logits, rowOf(lens[s.text]![depth - 1]!, position, VOCABULARY)),
                )
                tokens++
                expect(worst).toBeLessThan(TOLERANCE)
                // The staircase itself: no layer has seen more than the one below it.
                for (let l = 1; l < LAYERS; l++)
                  expect(s.sequence!.cached[l]).toBeLessThanOrEqual(s.sequence!.cached[l - 1]!)
                expect(s.sequence!.waiting).toBe(s.sequence!.length - s.sequence!.complete)
                if (++s.next === s.turns.length) s.sequence!.dispose()
              })
            }
          } finally {
            for (const s of states) s.sequence?.dispose()
          }
        }),
        { seed: 11, numRuns: 60 },
      )
      console.log(`staircase: ${tokens} tokens, largest difference ${worst}`)
    })

    it('sends the last row of a prompt ahead, and the others only where they are wanted', async () => {
      const { engine } = opened
      const sequence = engine.createSequence()
      const ids = texts[0]!.slice(0, 40)
      const step = async (from: number, to: number, stop: number) => {
        const depth = stopAt(stop, 'checked')
        const result = resultOf((await engine.step([{ sequence, ids: texts[0]!.slice(from, to), depth }]))[0])
        const expected = rowOf(lens[0]![stop]!, to - 1, VOCABULARY)
        expect(largestDifference(result.logits, expected)).toBeLessThan(TOLERANCE)
        return result.rowLayers
      }
      // Layers 0 and 1 whole, and layer 2 for the last row alone.
      expect(await step(0, ids.length, 2)).toBe(40 + 40 + 1)
      // Nothing above layer 2 is wanted, so the others go on waiting.
      expect(await step(40, 41, 2)).toBe(3)
      // 39 rows end layer 2, and 41 wait below layer 3, of which the last goes ahead.
      expect(await step(41, 42, 3)).toBe(3 + 39 + 1)
      expect(await step(42, 43, LAYERS - 1)).toBe(4 + 41 + 43)
      expect(sequence.unfinished.size).toBe(0)
      sequence.dispose()
    })

    it('stops a long prompt between its pieces, and no other feed of the step', async () => {
      const ids = Array.from({ length: 700 }, (_, i) => (i * 17) % VOCABULARY)
      const { engine } = opened
      const plan: TokenDepth = { kind: 'plan', layers: allLayers(LAYERS) }
      const exit: TokenDepth = {
        ...CHECKED,
        checks: new Set([0, 1]),
        last: LAYERS - 1,
        needs: { hidden: true },
        exits: () => false,
      }
      for (const depth of [plan, exit]) {
        let reads = 0
        const signal = {
          get aborted() {
            return ++reads > 2
          },
          reason: 'enough',
        } as unknown as AbortSignal
        const [long, other] = [engine.createSequence(), engine.createSequence()]
        const few = ids.slice(0, 5)
        const [stopped, outcome] = await engine.step([
          { sequence: long, ids, depth, signal },
          { sequence: other, ids: few, depth },
        ])
        expect(stopped).toMatchObject({ error: { code: 'aborted' } })
        expect(reads).toBe(3)
        const lens = await lensOf(few)
        expect(largestDifference(resultOf(outcome).logits, rowOf(lens[LAYERS - 1]!, 4, VOCABULARY))).toBeLessThan(
          TOLERANCE,
        )
        long.dispose()
        other.dispose()
      }
    })

    it('is exact for prompts longer than a piece, growth across 256, 512 and 1,024 cells, and moves of slots', async () => {
      const ids = Array.from({ length: 1100 }, (_, i) => (i * 31 + (i >> 3)) % VOCABULARY)
      const full = await lensOf(ids)
      const { engine } = opened
      const check = (sequence: Sequence, outcome: Parameters<typeof resultOf>[0]) => {
        const { logits, depth } = resultOf(outcome)
        const row = rowOf(full[depth - 1]!, sequence.length - 1, VOCABULARY)
        expect(largestDifference(logits, row), `position ${sequence.length - 1}, depth ${depth}`).toBeLessThan(
          TOLERANCE,
        )
      }
      const [a, b, c] = [engine.createSequence(), engine.createSequence(), engine.createSequence()]
      const feed = (s: Sequence, count: number, depth: TokenDepth) => ({
        sequence: s,
        ids: ids.slice(s.length, s.length + count),
        depth,
      })
      const plan: TokenDepth = { kind: 'plan', layers: allLayers(LAYERS) }

      // A prompt of three pieces stops early: all its rows wait, more than the hidden rows had room for.
      let outcomes = await engine.step([
        feed(a, 1030, stopAt(1, 'checked')),
        feed(b, 200, stopAt(2, 'beforehand')),
        feed(c, 530, plan),
      ])
      outcomes.forEach((o, i) => check([a, b, c][i]!, o))
      // But for those that others took along.
      expect(a.waiting).toBe(a.length - a.complete)
      expect(a.waiting).toBeGreaterThan(1020)
      expect(c.waiting).toBe(0)
      // Now the slots of b and c grow in turn while a sleeps; then it catches up on all of them at once.
      for (const count of [50, 6, 1, 250, 5, 1, 511]) {
        outcomes = await engine.step([
          feed(b, count, stopAt(count % 2 === 0 ? 3 : -1, 'checked')),
          feed(c, 1, stopAt(0, 'beforehand')),
        ])
        outcomes.forEach((o, i) => check([b, c][i]!, o))
      }
      outcomes = await engine.step([
        feed(a, 1, stopAt(LAYERS - 1, 'beforehand')),
        feed(b, 1, stopAt(-1, 'checked')),
        feed(c, 1, stopAt(-1, 'checked')),
      ])
      outcomes.forEach((o, i) => check([a, b, c][i]!, o))
      expect([a.waiting, b.waiting, c.waiting]).toEqual([0, 0, 0])
      // Truncated in the middle of a staircase, then fed again.
      check(a, (await engine.step([feed(a, 20, stopAt(1, 'checked'))]))[0])
      a.truncate(1040)
      check(a, (await engine.step([feed(a, 3, stopAt(2, 'checked'))]))[0])
      a.truncate(600)
      expect([...a.cached]).toEqual(Array(LAYERS).fill(600))
      check(a, (await engine.step([feed(a, 40, stopAt(-1, 'checked'))]))[0])
      for (const s of [a, b, c]) s.dispose()
    })

    it('takes rows of a sequence that has stopped along where places are free, and tells', async () => {
      const { engine } = opened
      const free = padding(1) > 1
      const [a, b] = [engine.createSequence(), engine.createSequence()]
      const step = async (stop: number, count = 1) => {
        const outcomes = await engine.step(
          [a, b].map((sequence, i) => {
            const ids = texts[i]!.slice(sequence.length, sequence.length + count)
            return { sequence, ids, depth: stopAt(i === 0 ? stop : LAYERS - 1, 'beforehand') }
          }),
        )
        return outcomes.map((outcome, i) => {
          const result = resultOf(outcome)
          const row = rowOf(lens[i]![result.depth - 1]!, [a, b][i]!.length - 1, VOCABULARY)
          expect(largestDifference(result.logits, row)).toBeLessThan(TOLERANCE)
          return result.rowLayers
        })
      }
      await step(LAYERS - 1, 4)
      // The newest row is still to be read, so it stays; the one before it goes up with b's.
      expect(await step(1)).toEqual([2, LAYERS])
      expect(await step(1)).toEqual([free ? LAYERS : 2, LAYERS])
      expect(a.waiting).toBe(free ? 1 : 2)
      expect(a.complete).toBe(free ? 5 : 4)
      await step(0)
      await step(2)
      await step(LAYERS - 1)
      expect(a.waiting).toBe(0)
      a.dispose()
      b.dispose()
    })

    it('gives the hidden rows back', async () => {
      const { engine } = opened
      const ids = texts[0]!
      for (const [stop, waiting] of [
        [0, 10],
        [LAYERS - 1, 0],
      ] as const) {
        const s = engine.createSequence()
        await engine.step([{ sequence: s, ids: ids.slice(0, 10), depth: stopAt(stop, 'checked') }])
        expect(s.waiting).toBe(waiting)
        s.dispose()
        s.dispose()
        expect(s.waiting).toBe(0)
      }
    })

    it('refuses what would not be exact', async () => {
      const { engine } = opened
      const ids = texts[0]!
      const s = engine.createSequence()
      const error = async (depth: TokenDepth, tokens: readonly number[] = ids.slice(0, 1)) => {
        const [outcome] = await engine.step([{ sequence: s, ids: tokens, depth }])
        return outcome !== undefined && 'error' in outcome ? String(outcome.error) : 'no error'
      }
      const plan = (...layers: number[]): TokenDepth => ({ kind: 'plan', layers })
      expect(await error(plan(0), [])).toMatch(/at least one token/)
      resultOf((await engine.step([{ sequence: s, ids: ids.slice(0, 4), depth: stopAt(1, 'checked') }]))[0])
      expect(await error(plan(0, 1, 2))).toMatch(/layer 2 has not seen every position/)
      s.truncate(0)
      resultOf((await engine.step([{ sequence: s, ids: ids.slice(0, 4), depth: plan(0, 2) }]))[0])
      expect(await error(plan(0, 1, 2))).toMatch(/layer 1 has not seen every position/)
      expect(await error(stopAt(1, 'checked'))).toMatch(/skip plan has left layers out/)
      // What was refused has changed nothing.
      expect(s.length).toBe(4)
      resultOf((await engine.step([{ sequence: s, ids: ids.slice(4, 5), depth: plan(0, 2) }]))[0])
      s.dispose()
    })
  })

  describe('generate on the staircase', () => {
    let model: Model
    beforeAll(async () => {
      model = await workspace.loadRandom(2, { ...SHAPE, layers: 4 })
    })

    it('gives full depth where a policy never exits, and is exact where it does', async () => {
      const { layers, vocabulary } = model.hyperparameters
      /** A policy whose exits follow from the position alone, on every sequence otherwise. */
      const randomExits = (seed: number, never: boolean): ExitPolicy<unknown, number> => ({
        kind: 'exit',
        spec: `random:${seed}`,
        checkLayers: (n) => allLayers(n - 1),
        startToken: ({ position }) => (never ? -1 : ((position * 7919 + seed * 104729) >>> 3) % (layers + 1)),
        exits: ({ layer }, stop) => layer === stop,
      })
      await fc.assert(
        fc.asyncProperty(
          fc.array(
            fc.record({
              prompt: fc.array(fc.nat(vocabulary - 1), { minLength: 1, maxLength: 12 }),
              seed: fc.nat(1000),
              tokens: fc.integer({ min: 1, max: 12 }),
              late: fc.boolean(),
            }),
            { minLength: 1, maxLength: 5 },
          ),
          async (requests) => {
            const generations = requests.map(async ({ prompt, seed, tokens, late }) => {
              const options = { maxTokens: tokens, ignoreEos: true }
              if (late) await new Promise((resolve) => setImmediate(resolve))
              const [never, some] = [
                model.generate(prompt, { ...options, depth: randomExits(seed, true) }),
                model.generate(prompt, { ...options, depth: randomExits(seed, false) }),
              ]
              return { never: await never.result, some: await some.result }
            })
            for (const [i, { never, some }] of (await Promise.all(generations)).entries()) {
              const { prompt, tokens } = requests[i]!
              const full = await model.generate(prompt, { maxTokens: tokens, ignoreEos: true, depth: 'full' }).result
              expect(never.tokens).toEqual(full.tokens)
              expect(never.depths).toEqual(Array(tokens).fill(layers))
              const trace = await model.trace([...prompt, ...some.tokens])
              some.tokens.forEach((id, t) => {
                const row = rowOf(trace.lensLogits[some.depths[t]! - 1]!, prompt.length - 1 + t, vocabulary)
                // Greedy: the largest of the lens logits where it stopped, ties and rounding aside.
                expect(row[id]!).toBeGreaterThan(Math.max(...row) - TOLERANCE)
                expect(some.logprobs[t]!).toBeCloseTo(row[id]! - logSumExp(row), 3)
              })
            }
          },
        ),
        { seed: 5, numRuns: 12 },
      )
    })
  })

  function logSumExp(row: Float32Array): number {
    const largest = Math.max(...row)
    return largest + Math.log(row.reduce((sum, v) => sum + Math.exp(v - largest), 0))
  }
})
