import { beforeAll, describe, expect, it } from 'vitest'
import { largestDifference, rowOf } from '../../../test/compare.js'
import type { LlamaShape } from '../../../test/random-checkpoint.js'
import { useWorkspace } from '../../../test/workspace.js'
import { features } from '../../depth/features.js'
import type { ExitPolicy } from '../../depth/policy.js'
import type { Model } from '../api.js'
import type { Trace } from '../known-text.js'
import { createRandomStream } from '../schedule/random-stream.js'

// Exits are exact: what a token gets where it stops is what the full model says at that layer for the same text.

const workspace = useWorkspace()

const RANDOM: Readonly<Record<string, LlamaShape>> = {
  'four layers': {},
  'grouped heads, biases, tied': { layers: 6, heads: 6, kvHeads: 2, attentionBias: true, mlpBias: true, tied: true },
  'two layers': { layers: 2 },
}

const MODELS: { name: string; open: () => Promise<Model>; length: number }[] = [
  ...Object.entries(RANDOM).map(([name, shape], i) => ({
    name,
    open: () => workspace.loadRandom(100 + i, shape),
    length: 48,
  })),
  { name: 'ripple-8m', open: () => workspace.load('ripple-8m'), length: 40 },
]

describe.each(MODELS)('exits of $name', ({ name, open, length }) => {
  let model: Model
  let ids: number[]
  let full: Trace
  const promptLength = 5

  beforeAll(async () => {
    model = await open()
    const random = createRandomStream(7)
    const text =
      'Once upon a time there was a little fox who lived in the forest. Every morning she went down to the river to drink, and there she met the old heron.'
    ids = model.tokenizer
      ? model.tokenizer.encode(text).slice(0, length)
      : Array.from({ length }, () => Math.floor(random() * model.hyperparameters.vocabulary))
    full = await model.trace(ids)
  })

  function lens(depth: number, position: number): Float32Array {
    return rowOf(full.lensLogits[depth - 1]!, position, model.hyperparameters.vocabulary)
  }

  it('are traced layer by layer as all at once', async () => {
    const { hidden, lensLogits, logits } = full
    const seen: number[] = []
    const streamed = await model.trace(ids, {
      onLayer: async (traced) => {
        expect(traced.layer).toBe(seen.length)
        expect(traced.hidden).toEqual(hidden[traced.layer])
        expect(traced.lensLogits).toEqual(lensLogits[traced.layer])
        expect(traced.mappedLogits).toBeNull()
        await Promise.resolve()
        seen.push(traced.layer)
      },
    })
    expect(seen).toHaveLength(hidden.length)
    expect(streamed).toEqual({ inputIds: full.inputIds, hidden: [], lensLogits: [], mappedLogits: [], logits })
    const onLayer = (): void => {
      throw new Error('enough')
    }
    await expect(model.trace(ids, { onLayer })).rejects.toThrow('enough')
  })

  async function scored(depth: string) {
    const score = await model.score(ids, { promptLength, depth })
    let worst = 0
    let loss = 0
    let before = lens(model.hyperparameters.layers, promptLength - 1)
    for (let i = 0; i < score.depth.length; i++) {
      const position = promptLength + i
      const logits = rowOf(score.logits, i, model.hyperparameters.vocabulary)
      worst = Math.max(worst, largestDifference(logits, lens(score.depth[i]!, position)))
      const largest = Math.max(...before)
      loss += largest + Math.log(before.reduce((sum, v) => sum + Math.exp(v - largest), 0)) - before[ids[position]!]!
      before = logits
    }
    expect(score.loss).toBeCloseTo(loss / score.depth.length, 4)
    expect(score.perplexity).toBeCloseTo(Math.exp(score.loss), 6)
    expect(score.meanDepth).toBeCloseTo(score.depth.reduce((a, b) => a + b, 0) / score.depth.length, 9)
    return { depths: [...score.depth], worst }
  }

  it('under exit: every token has the lens logits of that layer', async () => {
    const { layers } = model.hyperparameters
    for (const layer of new Set([0, layers >> 1, layers - 1])) {
      const { depths, worst } = await scored(`exit:${layer}`)
      expect(depths).toEqual(Array(ids.length - promptLength).fill(layer + 1))
      expect(worst).toBeLessThan(1e-3)
    }
  })

  it('with a check head of a few tokens: decides from those, and speaks from the whole vocabulary', async () => {
    const { layers, vocabulary } = model.hyperparameters
    const tokens = Array.from({ length: 12 }, (_, i) => 3 * i + 2)
    let checks = 0
    let position = 0
    const policy: ExitPolicy<undefined, number> = {
      kind: 'exit',
      spec: 'few tokens',
      checkTokens: tokens,
      checkLayers: (n) => Array.from({ length: n - 1 }, (_, l) => l),
      needs: { logits: true },
      startToken: (token) => token.position,
      exits(check, at) {
        position = at
        const expected = features(Float32Array.from(tokens, (id) => lens(check.layer + 1, at)[id]!))
        expect([check.top, check.second]).toEqual([tokens[expected.top], tokens[expected.second]])
        expect(check.gap).toBeCloseTo(expected.gap, 3)
        expect(check.topProb).toBeCloseTo(expected.topProb, 3)
        expect(check.entropy).toBeCloseTo(expected.entropy, 3)
        expect(check.logits.length).toBe(tokens.length)
        checks++
        return check.layer === at % layers
      },
    }
    const score = await model.score(ids, { promptLength, depth: policy })
    expect(position).toBe(ids.length - 1)
    expect(checks).toBeGreaterThanOrEqual(ids.length - promptLength)
    score.depth.forEach((depth, i) => {
      expect(depth).toBe(((promptLength + i) % layers) + 1)
      const logits = rowOf(score.logits, i, vocabulary)
      expect(largestDifference(logits, lens(depth, promptLength + i))).toBeLessThan(1e-3)
    })
    const beyond = { ...policy, checkTokens: [1, vocabulary] }
    await expect(model.score(ids, { promptLength, depth: beyond })).rejects.toThrow(/beyond the model's vocabulary/)
    for (const wrong of [[5], [5, 5], [7, 5], [-1, 2], [0.5, 2]]) {
      await expect(model.score(ids, { promptLength, depth: { ...policy, checkTokens: wrong } })).rejects.toThrow(
        'checkTokens must be two or more token ids, ascending',
      )
    }
  })

  it('under gap: every token stops at the first checked layer whose gap exceeds the value', async () => {
    const { layers } = model.hyperparameters
    const seen = new Set<number>()
    let worstOfAll = 0
    for (const [spec, checks, threshold] of [
      ['gap:0.5', all(layers - 1), 0.5],
      ['gap:0.2', all(layers - 1), 0.2],
      ['gap:0.8', all(layers - 1), 0.8],
      ['gap:0', all(layers - 1), 0],
      ['gap:1', [], 1],
      ['gap:0.3,from=1,every=2', all(layers - 1).filter((l) => l % 2 === 1), 0.3],
      ['gap:0.1,layers=0', [0].filter((l) => l < layers - 1), 0.1],
    ] as const) {
      const { depths, worst } = await scored(spec)
      worstOfAll = Math.max(worstOfAll, worst)
      depths.forEach((depth, i) => {
        seen.add(depth)
        const position = promptLength + i
        const gaps = checks.map((l) => features(lens(l + 1, position)).gap)
        // A gap that the two runs round to different sides of the threshold would say nothing.
        if (gaps.some((gap) => Math.abs(gap - threshold) < 1e-4)) return
        const first = checks.find((_, c) => gaps[c]! > threshold)
        expect(depth, `${spec} at position ${position}`).toBe(first === undefined ? layers : first + 1)
      })
    }
    console.log(
      `${name}: largest difference to the lens ${worstOfAll}; depths seen ${[...seen].sort((a, b) => a - b).join(' ')}`,
    )
    expect(worstOfAll).toBeLessThan(1e-3)
    expect(seen.size).toBeGreaterThan(1)
  })

  it('under a threshold that nothing exceeds, decoding equals full depth', async () => {
    const prompt = ids.slice(0, promptLength)
    const options = { maxTokens: 20, ignoreEos: true }
    const full = await model.generate(prompt, { ...options, depth: 'full' }).result
    const never = await model.generate(prompt, { ...options, depth: 'gap:1' }).result
    expect(never.tokens).toEqual(full.tokens)
    expect(never.depths).toEqual(full.depths)
    expect(never.rowLayers).toBe(full.rowLayers)
  })
})

function all(count: number): number[] {
  return Array.from({ length: count }, (_, l) => l)
}
