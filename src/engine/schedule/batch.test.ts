import { beforeAll, describe, expect, it } from 'vitest'
import { rowOf } from '../../../test/compare.js'
import { useWorkspace } from '../../../test/workspace.js'
import { allLayers } from '../../depth/plan.js'
import type { ExitPolicy } from '../../depth/policy.js'
import { POLICIES } from '../../depth/spec.js'
import type { Depth, GenerationResult, Model } from '../api.js'

// A batch gives token for token what single runs give, under every policy.

const workspace = useWorkspace()
const SEQUENCES = 8

/** Sequences stop at layers of their own, other ones at every token. */
const scattered: ExitPolicy<number, number> = {
  kind: 'exit',
  spec: 'scattered',
  checkLayers: (layers) => allLayers(layers - 1),
  startSequence: ({ promptTokens }) => promptTokens,
  startToken: ({ position }, sequence) => (position * 5 + sequence * 3) % 18,
  exits: ({ layer }, stop) => layer >= stop,
}

/** The plan shrinks as the sequence grows. */
const shrinking: Depth = {
  kind: 'skip',
  spec: 'shrinking',
  prompt: 'full',
  plan: ({ generated, layers }) => allLayers(layers).filter((l) => l % 2 === 0 || l > generated),
}

interface Difference {
  readonly sequence: number
  readonly candidates: number
}

async function generateAll(model: Model, prompts: readonly (readonly number[])[], depth: Depth, maxTokens: number) {
  const options = { depth, maxTokens, ignoreEos: true }
  const together = await Promise.all(
    prompts.map((prompt, i) => model.generate(prompt, { ...options, maxTokens: maxTokens + (i % 3) }).result),
  )
  const single: GenerationResult[] = []
  for (const [i, prompt] of prompts.entries())
    single.push(await model.generate(prompt, { ...options, maxTokens: maxTokens + (i % 3) }).result)
  return { together, single }
}

/** First differences, each with how far full depth's logits of the two candidates are apart. */
async function differences(
  model: Model,
  prompts: readonly (readonly number[])[],
  a: GenerationResult[],
  b: GenerationResult[],
) {
  const found: Difference[] = []
  for (const [sequence, prompt] of prompts.entries()) {
    const [x, y] = [a[sequence]!, b[sequence]!]
    const at = x.tokens.findIndex((id, i) => id !== y.tokens[i] || x.depths[i] !== y.depths[i])
    if (at < 0) {
      expect(x.tokens.length).toBe(y.tokens.length)
      continue
    }
    const trace = await model.trace([...prompt, ...x.tokens.slice(0, at)])
    const row = rowOf(trace.logits, prompt.length + at - 1, model.hyperparameters.vocabulary)
    const candidates =
      x.tokens[at] === y.tokens[at] ? Number.POSITIVE_INFINITY : Math.abs(row[x.tokens[at]!]! - row[y.tokens[at]!]!)
    found.push({ sequence, candidates })
  }
  return found
}

async function expectSame(
  model: Model,
  prompts: readonly (readonly number[])[],
  depth: Depth,
  maxTokens: number,
): Promise<GenerationResult[]> {
  const { together, single } = await generateAll(model, prompts, depth, maxTokens)
  const found = await differences(model, prompts, together, single)
  const name = typeof depth === 'string' ? depth : depth.spec
  if (found.length > 0)
    console.log(`${model.name}, ${name}: ${found.length} first differences: ${JSON.stringify(found)}`)
  for (const { candidates, sequence } of found) expect(candidates, `${name}, sequence ${sequence}`).toBeLessThan(1e-4)
  return together
}

const SPECS = POLICIES.flatMap((p) => p.examples)

describe('a batch of 8 on random weights of 16 layers', () => {
  let model: Model
  let prompts: number[][]
  beforeAll(async () => {
    model = await workspace.loadRandom(31, { layers: 16, kvHeads: 2, vocabulary: 80 })
    prompts = Array.from({ length: SEQUENCES }, (_, s) =>
      Array.from({ length: 3 + ((s * 5) % 11) }, (_, i) => (i * 13 + s * 29 + 1) % 80),
    )
  })

  it.each(SPECS)('gives what 8 single runs give under %s', async (spec) => {
    await expectSame(model, prompts, spec, 12)
  })

  it('does so where the sequences stop at different layers', async () => {
    const results = await expectSame(model, prompts, scattered, 16)
    for (const { depths } of results) expect(new Set(depths).size).toBeGreaterThan(4)
  })

  it('does so where a plan shrinks', async () => {
    const results = await expectSame(model, prompts, shrinking, 12)
    expect(results[0]?.depths.at(0)).toBe(16)
    expect(results[0]?.depths.at(-1)).toBeLessThan(16)
  })

  it('does so where every sequence has a policy of its own', async () => {
    const depths: Depth[] = [
      'full',
      'gap:0.4',
      'layers:0,3,5',
      'exit:7',
      scattered,
      'unified:2x,by=layers',
      'unified:4x,by=layers,prompt=plan',
      shrinking,
    ]
    const options = { maxTokens: 14, ignoreEos: true }
    const together = await Promise.all(
      prompts.map((p, i) => model.generate(p, { ...options, depth: depths[i]! }).result),
    )
    for (const [i, prompt] of prompts.entries()) {
      const single = await model.generate(prompt, { ...options, depth: depths[i]! }).result
      expect(together[i]?.tokens).toEqual(single.tokens)
      expect(together[i]?.depths).toEqual(single.depths)
      expect(together[i]?.rowLayers).toBe(single.rowLayers)
    }
  })

  it('gives each sequence a random stream of its own', async () => {
    const options = { maxTokens: 12, ignoreEos: true, temperature: 1 }
    const together = await Promise.all(prompts.map((p, seed) => model.generate(p, { ...options, seed }).result))
    for (const [seed, prompt] of prompts.entries()) {
      const single = await model.generate(prompt, { ...options, seed }).result
      expect(together[seed]?.tokens).toEqual(single.tokens)
    }
  })

  it('gives a free slot to who asked with the greatest priority, and then to who waited longest', async () => {
    const narrow = await workspace.loadRandom(33, { layers: 2 }, { slots: 1 })
    const order: string[] = []
    const ask = async (name: string, priority?: number): Promise<void> => {
      await narrow.generate([1, 2], { maxTokens: 2, ...(priority === undefined ? {} : { priority }) }).result
      order.push(name)
    }
    const first = ask('first')
    await new Promise((resolve) => setImmediate(resolve))
    await Promise.all([first, ask('a'), ask('low', -1), ask('high', 5), ask('b'), ask('higher', 6)])
    expect(order).toEqual(['first', 'higher', 'high', 'a', 'b', 'low'])
    expect(() => narrow.generate([1], { priority: Number.NaN })).toThrow(/priority must be a number/)
  })

  it('gives a free slot to the client who has fewest, where many calls of one wait', async () => {
    const narrow = await workspace.loadRandom(33, { layers: 2 }, { slots: 2 })
    const order: string[] = []
    const ask = async (name: string, client: string, maxTokens: number): Promise<void> => {
      await narrow.generate([1, 2], { maxTokens, ignoreEos: true, client }).result
      order.push(name)
    }
    const many = [ask('a1', 'a', 30), ask('a2', 'a', 10), ...['a3', 'a4', 'a5'].map((name) => ask(name, 'a', 10))]
    await new Promise((resolve) => setImmediate(resolve))
    await Promise.all([...many, ask('b1', 'b', 5)])
    expect(order.slice(0, 2)).toEqual(['a2', 'b1'])
    expect(() => narrow.generate([1], { client: 1 as unknown as string })).toThrow(/client must be a text/)
  })

  it('serves more generations than slots, each complete', async () => {
    const narrow = await workspace.loadRandom(31, { layers: 16, kvHeads: 2, vocabulary: 80 }, { slots: 3 })
    const results = await Promise.all(
      prompts.map((p) => narrow.generate(p, { maxTokens: 9, ignoreEos: true, depth: 'gap:0.4' }).result),
    )
    for (const [i, prompt] of prompts.entries()) {
      expect(results[i]?.tokens).toEqual(
        (await model.generate(prompt, { maxTokens: 9, ignoreEos: true, depth: 'gap:0.4' }).result).tokens,
      )
    }
  })
})

describe('a batch of 70', () => {
  it('has room in its graphs, whatever is asked for', async () => {
    const model = await workspace.loadRandom(32, { layers: 3 }, { slots: 70, context: 300 })
    const depth: ExitPolicy = {
      ...scattered,
      needs: { logits: true, hidden: true, sublayers: true },
      startToken: ({ position }) => position % 4,
      exits: ({ layer, input, mlp, logits }, stop) =>
        input.length + mlp.length + logits.length === 128 && layer >= (stop as number),
    }
    const prompts = Array.from({ length: 70 }, (_, i) => [i % 64, (i * 7) % 64, ...(i % 3 === 0 ? [5, 6] : [])])
    const options = { maxTokens: 4, ignoreEos: true, depth }
    const results = await Promise.all(prompts.map((p) => model.generate(p, options).result))
    for (const i of [0, 1, 35, 69]) {
      expect(results[i]?.tokens).toEqual((await model.generate(prompts[i]!, options).result).tokens)
    }
  })
})

describe('a batch of 8 on ripple-8m', () => {
  it.each([
    ['full', 'full'],
    ['gap:0.3', 'gap:0.3'],
    ['exits at different layers', scattered],
    ['unified:2x,by=layers', 'unified:2x,by=layers'],
  ] as const)('gives what 8 single runs give under %s', async (_, depth) => {
    // With two threads here: the rows of a product are split among them.
    const model = await workspace.load('ripple-8m', { threads: 1 })
    const texts = [
      'Once upon a time',
      'The old man',
      'Q: big\nA:',
      'In the forest there was a',
      'She said',
      'It was a dark night and',
      'My name',
      'Far away, over the sea,',
    ]
    await expectSame(
      model,
      texts.map((text) => model.tokenizer!.encode(text)),
      depth,
      12,
    )
    await model.dispose()
  })
})
