import { beforeAll, describe, expect, it } from 'vitest'
import { useWorkspace } from '../../../test/workspace.js'
import type { Depth, Model } from '../api.js'
import { createRandomStream } from './random-stream.js'

// A prompt that begins as another text did says what it says without that text, and feeds only the rest.

const workspace = useWorkspace()
const SHAPE = { layers: 6, kvHeads: 2, vocabulary: 80 } as const
const OPTIONS = { maxTokens: 10, ignoreEos: true } as const

let plain: Model
let caching: Model
beforeAll(async () => {
  plain = await workspace.loadRandom(71, SHAPE)
  caching = await workspace.loadRandom(71, SHAPE, { prefixCache: 4 })
})

function text(length: number, seed: number): number[] {
  const random = createRandomStream(seed)
  return Array.from({ length }, () => Math.floor(random() * SHAPE.vocabulary))
}

const SPECS: Depth[] = [
  'full',
  'exit:3',
  'gap:0.2',
  'layers:0,2,5',
  'layers:0,2,5,prompt=plan',
  'unified:2x,by=layers',
  'unified:2x,by=layers,prompt=plan',
]

describe('a prompt that begins as another one', () => {
  it.each(SPECS)('goes on from there under %s and says the same', async (depth) => {
    const shared = text(40, 1)
    await caching.generate([...shared, ...text(5, 2)], { ...OPTIONS, depth }).result
    const prompt = [...shared, ...text(6, 3)]
    const result = await caching.generate(prompt, { ...OPTIONS, depth }).result
    const expected = await plain.generate(prompt, { ...OPTIONS, depth }).result
    expect(result.tokens).toEqual(expected.tokens)
    expect(result.depths).toEqual(expected.depths)
    expect(expected.reusedTokens).toBe(0)
    if (typeof depth === 'string' && !depth.includes('exit') && !depth.includes('gap'))
      expect(result.reusedTokens).toBeGreaterThanOrEqual(40)
  })

  it('says the same whatever ran before, in any mixture of depths, at once and one after the other', async () => {
    const random = createRandomStream(5)
    const beginnings = [text(30, 11), text(70, 12)]
    let reused = 0
    for (let round = 0; round < 12; round++) {
      const all = Array.from({ length: 4 }, (_, i) => {
        const beginning = beginnings[Math.floor(random() * 2)] as number[]
        const cut = 10 + Math.floor(random() * (beginning.length - 10))
        const prompt = [...beginning.slice(0, cut), ...text(1 + Math.floor(random() * 8), round * 10 + i)]
        return { prompt, depth: SPECS[Math.floor(random() * SPECS.length)] as Depth }
      })
      const results = await Promise.all(
        all.map(({ prompt, depth }) => caching.generate(prompt, { ...OPTIONS, depth }).result),
      )
      for (const [i, { prompt, depth }] of all.entries()) {
        const expected = await plain.generate(prompt, { ...OPTIONS, depth }).result
        expect(results[i]?.tokens).toEqual(expected.tokens)
        reused += results[i]?.reusedTokens ?? 0
      }
    }
    expect(reused).toBeGreaterThan(300)
  })

  it('takes what it said itself along, and keeps no more texts than it may', async () => {
    const model = await workspace.loadRandom(71, SHAPE, { prefixCache: 2 })
    const prompt = text(30, 21)
    const first = await model.generate(prompt, OPTIONS).result
    const again = await model.generate([...prompt, ...first.tokens, 7], OPTIONS).result
    expect(again.reusedTokens).toBe(39)
    const { idleBytes } = (await model.status()).kv
    await model.generate(text(30, 22), OPTIONS).result
    expect((await model.status()).kv.idleBytes).toBe(2 * idleBytes)
    await model.generate(text(30, 23), OPTIONS).result
    expect((await model.status()).kv.idleBytes).toBe(2 * idleBytes)
    expect((await model.generate([...prompt, 3], OPTIONS).result).reusedTokens).toBe(0)
  })

  it('gives its room to whoever runs', async () => {
    // Nothing has run yet: it has the cells of one slot.
    const slot = (await (await workspace.loadRandom(71, SHAPE)).status()).kv.bytes
    const model = await workspace.loadRandom(71, SHAPE, { prefixCache: 8, kvMemory: 3 * slot })
    for (let seed = 0; seed < 5; seed++) {
      await model.generate(text(30, 30 + seed), OPTIONS).result
      const { idleBytes, mostBytes } = (await model.status()).kv
      expect(idleBytes).toBe(Math.min(seed + 1, 3) * slot)
      expect(mostBytes).toBe(3 * slot)
    }
    const all = [51, 52, 53].map((seed) => model.generate(text(30, seed), { ...OPTIONS, maxTokens: 30 }).result)
    await Promise.all(all)
  })

  it('is nothing that a failed generation leaves', async () => {
    const model = await workspace.loadRandom(71, SHAPE, { prefixCache: 2 })
    const failing: Depth = {
      kind: 'skip',
      spec: 'fails',
      prompt: 'full',
      plan: ({ generated }) => {
        if (generated > 2) throw new Error('enough')
        return [0, 1, 2, 3, 4, 5]
      },
    }
    await expect(model.generate(text(30, 41), { ...OPTIONS, depth: failing }).result).rejects.toThrow('enough')
    expect((await model.status()).kv.idleBytes).toBe(0)
  })
})
