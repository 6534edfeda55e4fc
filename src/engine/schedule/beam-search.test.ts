import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { plainBeamSearch } from '../../../test/plain-beam-search.js'
import { useWorkspace } from '../../../test/workspace.js'
import { allLayers } from '../../depth/plan.js'
import type { ExitPolicy, SkipPolicy } from '../../depth/policy.js'
import type { Depth, Model } from '../api.js'
import { HiddenRows } from '../cache/hidden-rows.js'
import { KvCache } from '../cache/kv-cache.js'
import { repeatingIds } from './no-repeat-ngram.js'

const workspace = useWorkspace()
const LAYERS = 4
const VOCABULARY = 12
const END = 1

let model: Model
beforeAll(async () => {
  model = await workspace.loadRandom(11, { layers: LAYERS, vocabulary: VOCABULARY, eosTokenId: END, kvHeads: 2 })
})
afterEach(() => {
  vi.restoreAllMocks()
})

interface Case {
  readonly input_ids: number[]
  readonly num_beams: number
  readonly no_repeat_ngram_size: number
  readonly max_new_tokens: number
  readonly sequences: number[][]
  readonly scores: number[]
}
const cases = JSON.parse(
  readFileSync(new URL('../../../test/fixtures/beam/beam.json', import.meta.url), 'utf8'),
) as Case[]

describe('beam search of transformers', () => {
  let ripple: Model
  beforeAll(async () => {
    ripple = await workspace.load('pretrained/ripple-8m')
  })

  it.each(cases.map((c, i) => [i, c] as const))('has the same beams and scores: case %i', async (_, c) => {
    const result = await ripple.beamSearch(c.input_ids, {
      beams: c.num_beams,
      noRepeatNgram: c.no_repeat_ngram_size,
      maxTokens: c.max_new_tokens,
      depth: 'full',
    })
    expect(result.beams.map((b) => b.tokens)).toEqual(c.sequences)
    result.beams.forEach((beam, i) => {
      expect(beam.score).toBeCloseTo(c.scores[i]!, 5)
    })
    expect(result).toMatchObject({ promptTokens: c.input_ids, tokens: c.sequences[0], finishReason: 'length' })
    expect(result.logprobs.reduce((a, b) => a + b) / result.tokens.length).toBeCloseTo(c.scores[0]!, 5)
  })
})

/** Leaves earlier the oftener its sequence has named the same token: state that beams must not share. */
const counting: ExitPolicy<Map<number, number>> = {
  kind: 'exit',
  spec: 'counting',
  checkLayers: (layers) => allLayers(layers - 1),
  startSequence: () => new Map(),
  exits(check, _, seen) {
    const times = (seen.get(check.top) ?? 0) + 1
    seen.set(check.top, times)
    return times > 3
  },
}

/** A plan that shrinks with what its own state has counted. */
const shrinking: SkipPolicy<{ tokens: number }> = {
  kind: 'skip',
  spec: 'shrinking',
  prompt: 'full',
  startSequence: () => ({ tokens: 0 }),
  plan: ({ layers }, state) => {
    state.tokens++
    return allLayers(layers).filter((l) => l === 0 || l === layers - 1 || l > state.tokens - 2)
  },
}

const DEPTHS: readonly Depth[] = ['full', 'exit:2', 'gap:0.3', 'layers:0,2,3', 'patience:2', counting, shrinking]
const named = DEPTHS.map((depth) => [typeof depth === 'string' ? depth : depth.spec, depth] as const)

describe.each(named)('under %s', (_, depth) => {
  it('finds what runs from the start find, text by text', async () => {
    const settings = fc.record({
      prompt: fc.array(fc.nat(VOCABULARY - 1), { minLength: 1, maxLength: 20 }),
      beams: fc.integer({ min: 1, max: 5 }),
      limit: fc.integer({ min: 1, max: 8 }),
      penalty: fc.constantFrom(0, 0.5, 1, 2, -1),
      noRepeatNgram: fc.constantFrom(0, 0, 2, 3),
    })
    await fc.assert(
      fc.asyncProperty(settings, async ({ prompt, beams, limit, penalty, noRepeatNgram }) => {
        const { beams: found } = await model.beamSearch(prompt, {
          beams,
          maxTokens: limit,
          lengthPenalty: penalty,
          noRepeatNgram,
          depth,
        })
        const next = async (continuation: readonly number[]) => {
          const { logits } = await model.predict(prompt, { depth, continuation })
          const row = Array.from(logits.at(-1)!)
          const sum = Math.log(row.reduce((total, logit) => total + Math.exp(logit), 0))
          const forbidden = repeatingIds([...prompt, ...continuation], noRepeatNgram)
          return row.map((logit, id) => (forbidden.has(id) ? Number.NEGATIVE_INFINITY : logit - sum))
        }
        const expected = await plainBeamSearch(next, { beams, limit, ends: [END], penalty })
        expect(found.map((b) => b.tokens)).toEqual(expected.map((b) => b.tokens))
        found.forEach((beam, i) => {
          expect(beam.score).toBeCloseTo(expected[i]!.score, 4)
        })
      }),
      { seed: 3, numRuns: 12 },
    )
  })

  it('with one beam says what greedy decoding says', async () => {
    for (const [prompt, noRepeatNgram] of [
      [[2, 5, 7], 0],
      [[9, 9, 4, 3, 3, 8], 2],
      [[6], 1],
    ] as const) {
      const options = { maxTokens: 10, noRepeatNgram, depth }
      const greedy = await model.generate(prompt, options).result
      const beam = await model.beamSearch(prompt, { ...options, beams: 1 })
      for (const key of ['tokens', 'text', 'depths', 'finishReason', 'depth', 'rowLayers', 'rowsWaiting'] as const) {
        expect(beam[key]).toEqual(greedy[key])
      }
      beam.logprobs.forEach((logprob, i) => {
        expect(logprob).toBeCloseTo(greedy.logprobs[i]!, 6)
      })
    }
  })
})

describe('a beam search', () => {
  it('finds the best of all texts where it can hold them all', async () => {
    const tiny = await workspace.loadRandom(5, { layers: 2, vocabulary: 4, eosTokenId: END })
    const prompt = [2, 0, 3]
    const limit = 3
    const texts: { tokens: number[]; score: number }[] = []
    const visit = async (tokens: number[], sum: number): Promise<void> => {
      const { logits } = await tiny.predict([...prompt, ...tokens])
      const row = Array.from(logits[0]!)
      const total = Math.log(row.reduce((all, logit) => all + Math.exp(logit), 0))
      for (const [id, logit] of row.entries()) {
        const longer = [...tokens, id]
        const its = sum + logit - total
        if (id === END || longer.length === limit) texts.push({ tokens: longer, score: its / longer.length ** 0.7 })
        else await visit(longer, its)
      }
    }
    await visit([], 0)
    texts.sort((a, b) => b.score - a.score)
    const { beams, finishReason } = await tiny.beamSearch(prompt, { beams: 64, maxTokens: limit, lengthPenalty: 0.7 })
    expect(texts).toHaveLength(1 + 3 + 9 * 4)
    expect(beams.map((b) => b.tokens)).toEqual(texts.map((t) => t.tokens))
    expect(finishReason).toBe(beams[0]!.tokens.at(-1) === END ? 'eos' : 'length')
  })

  it('goes on past end-of-text tokens where it is told to, and no further than the context', async () => {
    const short = await workspace.loadRandom(
      11,
      { layers: LAYERS, vocabulary: VOCABULARY, eosTokenId: END, kvHeads: 2 },
      { context: 12 },
    )
    const { beams, finishReason } = await short.beamSearch([2, 5, 7, 3], { ignoreEos: true, beams: 6 })
    expect(beams.map((b) => b.tokens.length)).toEqual(Array(6).fill(9))
    expect(finishReason).toBe('length')
    expect(beams.some((b) => b.tokens.slice(0, -1).includes(END))).toBe(true)
  })

  it('takes turns with generations, and neither changes the other', async () => {
    const [prompt, other] = [
      [2, 5, 7],
      [4, 4, 10],
    ]
    const options = { maxTokens: 24, ignoreEos: true, depth: 'gap:0.3' }
    const alone = {
      search: await model.beamSearch(prompt!, options),
      text: await model.generate(other!, options).result,
    }
    const ended: string[] = []
    const note = <T>(name: string, result: Promise<T>) => result.finally(() => ended.push(name))
    const [search, second, short, text] = await Promise.all([
      note('search', model.beamSearch(prompt!, options)),
      note('second', model.beamSearch(prompt!, options)),
      note('short', model.generate(other!, { ...options, maxTokens: 2 }).result),
      note('text', model.generate(other!, options).result),
    ])
    expect(search.beams).toEqual(alone.search.beams)
    expect(second.beams).toEqual(alone.search.beams)
    expect(text.tokens).toEqual(alone.text.tokens)
    expect(short.tokens).toEqual(alone.text.tokens.slice(0, 2))
    expect(ended[0]).toBe('short')
  })

  it('gives all memory back: at its end, aborted, and where its policy fails', async () => {
    const held = heldMemory()
    await model.beamSearch([2, 5, 7], { depth: 'exit:1', maxTokens: 9, ignoreEos: true })
    expect(held()).toEqual({ slots: 0, rows: 0 })

    const controller = new AbortController()
    let most = { slots: 0, rows: 0 }
    const stopping: ExitPolicy = {
      ...watched(({ generated }) => {
        most = held()
        if (generated === 5) controller.abort('enough')
      }),
    }
    const aborted = model.beamSearch([2, 5, 7], { depth: stopping, ignoreEos: true, signal: controller.signal })
    await expect(aborted).rejects.toMatchObject({ code: 'aborted', cause: 'enough' })
    expect(most.slots).toBe(4)
    expect(most.rows).toBeGreaterThan(4)
    expect(held()).toEqual({ slots: 0, rows: 0 })

    const failing = watched(({ generated }) => {
      if (generated === 3) throw new Error('its own fault')
    })
    await expect(model.beamSearch([2, 5, 7], { depth: failing, ignoreEos: true })).rejects.toThrow('its own fault')
    expect(held()).toEqual({ slots: 0, rows: 0 })
    expect((await model.beamSearch([2, 5, 7], { maxTokens: 3 })).beams).toHaveLength(4)
  })

  it('ends where the model is disposed', async () => {
    const mortal = await workspace.loadRandom(12, { layers: 2, vocabulary: VOCABULARY })
    const search = mortal.beamSearch([2, 5, 7], { maxTokens: 2000, ignoreEos: true })
    const ended = expect(search).rejects.toMatchObject({ code: 'disposed' })
    await mortal.generate([3], { maxTokens: 2 }).result
    await mortal.dispose()
    await ended
  })

  it('copies the state of a policy as the policy wants it', async () => {
    class Counter {
      constructor(public tokens = 0) {}
      next(): number {
        return this.tokens++
      }
    }
    const policy: ExitPolicy<Counter> = {
      kind: 'exit',
      spec: 'counter',
      checkLayers: () => [0],
      startSequence: () => new Counter(),
      exits: (_, __, counter) => counter.next() > 2,
    }
    const copying: ExitPolicy<Counter> = { ...policy, forkSequence: ({ tokens }) => new Counter(tokens) }
    const options = { maxTokens: 6, ignoreEos: true }
    const { depths } = await model.beamSearch([2, 5, 7], { ...options, depth: copying as ExitPolicy })
    expect(depths).toEqual([4, 4, 4, 1, 1, 1])
    const refused = /depth "counter": .*cannot be copied.*forkSequence/
    await expect(model.beamSearch([2, 5, 7], { ...options, depth: policy as ExitPolicy })).rejects.toThrow(refused)
    const closure = { ...watched(() => {}), spec: 'counter', startSequence: () => ({ count: () => 1 }) }
    await expect(model.beamSearch([2, 5, 7], { ...options, depth: closure })).rejects.toThrow(refused)
  })

  it.each([
    [{ beams: 0 }, /beams must be a whole number from 1 to 128, not 0/],
    [{ beams: 129 }, /beams/],
    [{ beams: 1.5 }, /beams/],
    [{ noRepeatNgram: -1 }, /noRepeatNgram must be a whole number/],
    [{ lengthPenalty: Number.NaN }, /lengthPenalty must be a number/],
    [{ maxTokens: 0 }, /maxTokens/],
    [{ noRepeatNgram: 1, maxTokens: 20, ignoreEos: true }, /noRepeatNgram 1 leaves no token/],
  ])('refuses %j', async (options, reason) => {
    await expect(model.beamSearch(allLayers(VOCABULARY), options)).rejects.toThrow(reason)
  })
})

/** Stops after the layer that follows from the position, and tells of every token that starts. */
function watched(start: (info: { generated: number }) => void): ExitPolicy<unknown, number> {
  return {
    kind: 'exit',
    spec: 'watched',
    checkLayers: (layers) => allLayers(layers - 1),
    startToken: (info) => {
      start(info)
      return info.position % 2
    },
    exits: ({ layer }, stop) => layer === stop,
  }
}

/** Counts slots and hidden rows that are taken from now on and not given back. */
function heldMemory(): () => { slots: number; rows: number } {
  const [open, close] = [vi.spyOn(KvCache.prototype, 'open'), vi.spyOn(KvCache.prototype, 'close')]
  const [take, release] = [vi.spyOn(HiddenRows.prototype, 'take'), vi.spyOn(HiddenRows.prototype, 'release')]
  return () => ({
    slots: open.mock.calls.length - close.mock.calls.length,
    rows: take.mock.calls.length - release.mock.calls.length,
  })
}
