import { beforeAll, describe, expect, it } from 'vitest'
import { POLICIES } from '../src/depth/spec.js'
import type { Model } from '../src/engine/api.js'
import { agreement, fullDepth, ownPrompts } from './lossless-agreement.js'
import { useWorkspace } from './workspace.js'

// Whatever drafts, greedy output is full depth's. A first difference is excused only where full depth itself is undecided
// between the two tokens: one row and several rows take different kernels. `npm run soak` does the same with 1,000 prompts.

const PROMPTS = 50
const TOKENS = 64
const UNDECIDED = 1e-4
const SPECS = POLICIES.map(({ examples }) => examples[0]!)

const workspace = useWorkspace()

describe('lossless generation on ripple-8m', () => {
  let model: Model
  let prompts: number[][]
  let full: number[][]

  beforeAll(async () => {
    model = await workspace.load('ripple-8m', { threads: 1 })
    prompts = await ownPrompts(model, PROMPTS)
    full = await fullDepth(model, prompts, TOKENS)
  }, 180_000)

  it.each(SPECS)('says what full depth says under %s, one by one and four at once', async (depth) => {
    const half = PROMPTS / 2
    for (const [from, to, batch, lossless] of [
      [0, half, 1, { drafts: 2 }],
      [half, PROMPTS, 4, { drafts: 2 }],
      [0, 4, 4, true],
    ] as const) {
      const { differences } = await agreement(model, prompts.slice(from, to), full.slice(from, to), {
        depth,
        batch,
        lossless,
      })
      // As rare as 5 in 64,000 tokens.
      expect(differences.length).toBeLessThanOrEqual(1)
      for (const { margin } of differences) expect(margin).toBeLessThan(UNDECIDED)
      if (differences.length > 0) console.log(`${depth}, batch ${batch}: ${JSON.stringify(differences)}`)
    }
  })

  it('drafts from the text itself at full depth, one by one and four at once', async () => {
    const repeating = prompts.slice(0, 8).map((prompt) => [...prompt, ...prompt, ...prompt])
    const wanted = await fullDepth(model, repeating, TOKENS)
    for (const [batch, lossless] of [
      [1, { drafts: 8 }],
      [4, { drafts: 8 }],
      [4, true],
    ] as const) {
      const { differences, drafted, accepted } = await agreement(model, repeating, wanted, {
        depth: 'full',
        batch,
        lossless,
      })
      for (const { margin } of differences) expect(margin).toBeLessThan(UNDECIDED)
      expect(differences.length).toBeLessThanOrEqual(1)
      if (lossless === true) continue
      expect(drafted).toBeGreaterThan(20)
      expect(accepted).toBeGreaterThan(0)
      expect(accepted).toBeLessThan(drafted)
    }
  })

  it('ends at a stop string in the middle of a pass, as full depth does', async () => {
    const prompt = [...prompts[0]!, ...prompts[0]!, ...prompts[0]!]
    const { text } = await model.generate(prompt, { maxTokens: TOKENS, ignoreEos: true }).result
    const options = { maxTokens: TOKENS, ignoreEos: true, stop: text.slice(40, 46) }
    const plain = await model.generate(prompt, options).result
    const drafted = await model.generate(prompt, { ...options, lossless: { drafts: 8 } }).result
    expect(plain.finishReason).toBe('stop')
    expect(drafted).toMatchObject({ text: plain.text, tokens: plain.tokens, finishReason: 'stop' })
  })

  it.each(['exit:3', 'unified:2x,by=layers'])(
    'counts what was drafted under %s, and goes on drafting',
    async (depth) => {
      const { drafted, accepted } = await agreement(model, prompts.slice(0, 4), full.slice(0, 4), {
        depth,
        batch: 1,
        lossless: { drafts: 3 },
      })
      expect(drafted).toBeGreaterThan(20)
      expect(accepted).toBeGreaterThan(0)
      expect(accepted).toBeLessThan(drafted)
    },
  )
})
