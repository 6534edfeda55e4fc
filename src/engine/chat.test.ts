import { beforeAll, describe, expect, it } from 'vitest'
import { useWorkspace } from '../../test/workspace.js'
import type { Policy } from '../depth/policy.js'
import type { GenerationResult, Model } from './api.js'

// The second turn of a chat equals a fresh run on the whole text, and computes only what is new.

const workspace = useWorkspace()
const OPTIONS = { maxTokens: 12, ignoreEos: true } as const

let model: Model
beforeAll(async () => {
  model = await workspace.loadRandom(61, { tokenizer: true, layers: 6, kvHeads: 2 })
})

const SPECS = ['full', 'exit:2', 'gap:0.2', 'layers:0,2,5', 'layers:0,2,5,prompt=plan', 'unified:2x', 'unified:2x,prompt=plan']

/** Layers whose state per sequence decides, as a user may write it. */
const stateful: Policy = {
  kind: 'skip',
  spec: 'stateful',
  prompt: 'plan',
  startSequence: ({ layers }) => ({ kept: [0, layers - 1] }),
  plan: (_, state) => (state as { kept: number[] }).kept,
}

describe.each([...SPECS.map((depth) => ({ name: depth, depth })), { name: 'a policy with state', depth: stateful }])(
  'a chat under $name',
  ({ depth }) => {
    it('answers every turn as a fresh run would', async () => {
      const chat = model.chat({ ...OPTIONS, depth })
      const results: GenerationResult[] = []
      for (const text of ['Who are you?', 'And where do you live, in the forest or by the sea?', 'Why?']) {
        const asked = [...chat.messages, { role: 'user', content: text } as const]
        const result = await chat.send(text).result
        const fresh = await model.generate(asked, { ...OPTIONS, depth }).result
        expect(result.promptTokens).toEqual(fresh.promptTokens)
        expect(result.tokens).toEqual(fresh.tokens)
        expect(result.depths).toEqual(fresh.depths)
        results.push(result)
      }
      expect(chat.messages.map((m) => m.role)).toEqual(['user', 'assistant', 'user', 'assistant', 'user', 'assistant'])
      expect(chat.messages.at(-1)?.content).toBe(results.at(-1)?.text.trim())
      chat.dispose()
    })
  },
)

describe('a chat', () => {
  it('prefills from the first position that a layer lacks', async () => {
    const fed: number[] = []
    const watching = (policy: Policy): Policy =>
      policy.kind === 'exit' ? policy : { ...policy, plan: (t, s) => (fed.push(t.position), policy.plan(t, s)) }
    // A first answer whose text the template repeats as it was, so that its tokens come back in the next prompt.
    for (const [spec, reuses] of [['full', true], ['layers', false]] as const) {
      const policy: Policy = { kind: 'skip', spec, prompt: 'full', plan: () => (spec === 'full' ? [0, 1, 2, 3, 4, 5] : [0, 5]) }
      const chat = model.chat({ ...OPTIONS, depth: watching(policy) })
      const first = await chat.send('Who are you?').result
      const second = chat.send('Why?')
      await second.result
      const shared = sharedLength([...first.promptTokens, ...first.tokens], second.partial().promptTokens)
      const promptOnly = Math.min(shared, first.promptTokens.length)
      const { prefillMs, promptTokensPerSecond } = second.partial().timing
      const prefilled = Math.round((promptTokensPerSecond * prefillMs) / 1000)
      const kept = second.partial().promptTokens.length - prefilled
      if (reuses) expect(kept).toBe(Math.min(shared, first.promptTokens.length + first.tokens.length - 1))
      else expect(kept).toBe(promptOnly)
      expect(kept).toBeGreaterThan(0)
      chat.dispose()
    }
  })

  it('goes on after an answer that was stopped, and forgets that turn', async () => {
    const chat = model.chat(OPTIONS)
    await chat.send('One?').result
    const broken = chat.send('Two?')
    for await (const _ of broken) break
    await expect(broken.result).rejects.toMatchObject({ code: 'aborted' })
    expect(chat.messages).toHaveLength(2)
    const asked = [...chat.messages, { role: 'user', content: 'Three?' } as const]
    const result = await chat.send('Three?').result
    expect(result.tokens).toEqual((await model.generate(asked, OPTIONS).result).tokens)
    chat.dispose()
  })

  it('refuses a message while it answers, and after its end', async () => {
    const chat = model.chat(OPTIONS)
    const answer = chat.send('One?')
    expect(() => chat.send('Two?')).toThrow(/still being written/)
    await answer.result
    chat.dispose()
    expect(() => chat.send('Three?')).toThrow(/disposed|ended|closed/)
  })

  it('stands beside other generations and chats', async () => {
    const alone: number[][] = []
    for (const text of ['One?', 'Two?', 'Three?']) {
      const chat = model.chat(OPTIONS)
      await chat.send(text).result
      alone.push((await chat.send('And then?').result).tokens)
      chat.dispose()
    }
    const chats = ['One?', 'Two?', 'Three?'].map((text) => ({ chat: model.chat(OPTIONS), text }))
    await Promise.all(chats.map(({ chat, text }) => chat.send(text).result))
    // Sequences that sleep between turns keep their cells while another one grows.
    await model.generate(Array(700).fill(5), { maxTokens: 2, ignoreEos: true }).result
    const together = await Promise.all(chats.map(({ chat }) => chat.send('And then?').result))
    expect(together.map((r) => r.tokens)).toEqual(alone)
    for (const { chat } of chats) chat.dispose()
  })

  it('stops at the strings that the checkpoint names, and at those of the caller', async () => {
    const ripple = await workspace.load('ripple-8m')
    expect(ripple.settings.chatStop).toEqual(['\n\n'])
    const chat = ripple.chat({ maxTokens: 40 })
    const { text } = await chat.send('big').result
    expect(text).not.toContain('\n\n')
    chat.dispose()
  })
})

function sharedLength(a: readonly number[], b: readonly number[]): number {
  let n = 0
  while (n < a.length && n < b.length - 1 && a[n] === b[n]) n++
  return n
}
