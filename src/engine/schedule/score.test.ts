import { beforeAll, describe, expect, it } from 'vitest'
import { useWorkspace } from '../../../test/workspace.js'
import type { Model } from '../api.js'

const workspace = useWorkspace()
const CONTEXT = 16
const ids = Array.from({ length: 45 }, (_, i) => (i * 37 + 11) % 60)
let model: Model
let vocabulary: number

beforeAll(async () => {
  model = await workspace.loadRandom(3, undefined, { context: CONTEXT })
  vocabulary = model.hyperparameters.vocabulary
})

/** Negative log-likelihoods of tokens `from` .. of a window, by one pass over all of it. */
async function negativeLogLikelihoods(window: readonly number[], from: number): Promise<number[]> {
  const { logits } = await model.trace(window)
  return window.slice(from).map((id, i) => {
    const row = Array.from(logits.subarray((from + i - 1) * vocabulary, (from + i) * vocabulary))
    const max = Math.max(...row)
    return max + Math.log(row.reduce((sum, logit) => sum + Math.exp(logit - max), 0)) - row[id]!
  })
}

describe('a text that is longer than the context', () => {
  // The recipe of transformers' page on perplexity: begin_loc, end_loc, and labels of -100 for what was scored before.
  it.each([1, 5, 8, 15])('has the loss of strided windows, stride %i', async (stride) => {
    const losses: number[] = []
    let windows = 0
    for (let begin = 0, before = 0; before < ids.length; begin += stride) {
      const end = Math.min(begin + CONTEXT, ids.length)
      losses.push(...(await negativeLogLikelihoods(ids.slice(begin, end), Math.max(1, before - begin))))
      before = end
      windows++
    }
    expect(losses).toHaveLength(ids.length - 1)
    const score = await model.score(ids, { promptLength: 1, stride })
    expect(score.loss).toBeCloseTo(losses.reduce((a, b) => a + b, 0) / losses.length, 4)
    expect(score.perplexity).toBe(Math.exp(score.loss))
    expect(score.windows).toBe(windows)
    expect(score.depth).toHaveLength(ids.length - 1)
  })

  it('has a row of logits for every fed token, in order', async () => {
    const { logits, depth } = await model.score(ids, { promptLength: 3, stride: 8, depth: 'exit:1' })
    expect(logits).toHaveLength((ids.length - 3) * vocabulary)
    expect(Array.from(depth)).toEqual(Array.from({ length: ids.length - 3 }, () => 2))
    const second = await model.score(ids.slice(8, 24), { promptLength: 8, depth: 'exit:1' })
    expect(logits.subarray((16 - 3) * vocabulary, (24 - 3) * vocabulary)).toEqual(second.logits)
  })

  it('counts every fed token in its progress', async () => {
    const fed: number[] = []
    await model.score(ids, { promptLength: 5, stride: 8, onProgress: (done, total) => fed.push(done, total) })
    expect(fed.filter((_, i) => i % 2 === 0)).toEqual(Array.from({ length: 40 }, (_, i) => i + 1))
    expect(new Set(fed.filter((_, i) => i % 2 === 1))).toEqual(new Set([40]))
  })

  it('is refused without a stride, and with one that is none', async () => {
    await expect(model.score(ids, { promptLength: 1 })).rejects.toMatchObject({ code: 'context_exceeded' })
    for (const stride of [0, 16, 1.5, -1]) {
      await expect(model.score(ids, { promptLength: 1, stride })).rejects.toThrow(/stride must be .* from 1 to 15/)
    }
    await expect(model.score(ids, { promptLength: 17, stride: 8 })).rejects.toThrow(/from 1 to 16, .* context holds/)
  })
})

it('a text that fits has one window whatever the stride, and no logits where they are not asked for', async () => {
  const short = ids.slice(0, 12)
  const plain = await model.score(short, { promptLength: 2 })
  const strided = await model.score(short, { promptLength: 2, stride: 3, logits: false })
  expect(strided).toEqual({ ...plain, logits: new Float32Array(0) })
  expect(plain.windows).toBe(1)
})
