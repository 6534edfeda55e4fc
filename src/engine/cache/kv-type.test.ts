import { beforeAll, describe, expect, it } from 'vitest'
import { largestDifference } from '../../../test/compare.js'
import { useWorkspace } from '../../../test/workspace.js'
import type { Model } from '../api.js'

const workspace = useWorkspace()
const SHAPE = { headDim: 32, heads: 4, kvHeads: 2, layers: 4, vocabulary: 64, context: 1024 }
/** Across 256 and 512 cells. */
const IDS = Array.from({ length: 700 }, (_, i) => (i * i * 5 + 3 * i + 1) % SHAPE.vocabulary)

describe('a q8_0 cache', () => {
  let model: Model
  let exact: Model
  beforeAll(async () => {
    model = await workspace.loadRandom(3, SHAPE, { kvType: 'q8_0', context: 1024, slots: 4, prefixCache: 2 })
    exact = await workspace.loadRandom(3, SHAPE, { kvType: 'f32', context: 1024 })
  })

  it('gives the logits of exact keys and values but for their rounding', async () => {
    const [rounded, whole] = [
      await model.score(IDS, { promptLength: 600 }),
      await exact.score(IDS, { promptLength: 600 }),
    ]
    const apart = largestDifference(rounded.logits, whole.logits)
    expect(apart).toBeLessThan(0.1)
    expect(apart).toBeGreaterThan(0)
  })

  it('takes 34 bytes for 32 elements', async () => {
    const cell = (await model.status()).kv.bytes
    const whole = (await exact.status()).kv.bytes
    expect(cell / whole).toBeCloseTo(34 / 128, 5)
  })

  it('is exact after exits', async () => {
    const exits = await model.score(IDS, { promptLength: 600, depth: 'gap:0.1,from=2' })
    const full = await model.score(IDS, { promptLength: 600 })
    const deep = [...exits.depth].flatMap((depth, i) => (depth === 4 ? [i] : []))
    expect(deep.length).toBeGreaterThan(3)
    expect(deep.length).toBeLessThan(exits.depth.length)
    for (const i of deep) {
      const row = (logits: Float32Array): Float32Array => logits.subarray(i * 64, (i + 1) * 64)
      expect(largestDifference(row(exits.logits), row(full.logits))).toBeLessThan(1e-3)
    }
  })

  it('survives growth, moves and forks', async () => {
    const prompts = [IDS.slice(0, 240), IDS.slice(0, 250), IDS.slice(100, 300), IDS.slice(0, 500)]
    const greedy = { temperature: 0, maxTokens: 60 }
    const alone: (readonly number[])[] = []
    for (const prompt of prompts) alone.push((await model.generate(prompt, greedy).result).tokens)
    const together = await Promise.all(prompts.map((prompt) => model.generate(prompt, greedy).result))
    expect(together.map(({ tokens }) => tokens)).toEqual(alone)
  })
})

it('refuses q8_0 where a head is no whole number of blocks', async () => {
  const load = workspace.loadRandom(4, { headDim: 20, layers: 1 }, { kvType: 'q8_0' }).then(() => 'loaded')
  await expect(load).rejects.toThrow('in q8_0: its heads have 20 elements, not a multiple of 32')
})
