import { beforeAll, describe, expect, it, vi } from 'vitest'
import { useWorkspace } from '../../test/workspace.js'
import type { Policy } from '../depth/policy.js'
import type { Depth, GenerationResult, Model } from './api.js'
import { Engine } from './engine.js'

// The second turn of a chat equals a fresh run on the whole text, and computes only what is new.

const workspace = useWorkspace()
const OPTIONS = { maxTokens: 12, ignoreEos: true } as const

let model: Model
let ripple: Model
beforeAll(async () => {
  ripple = await workspace.load('ripple-8m')
  model = await workspace.loadRandom(61, { tokenizer: true, layers: 6, kvHeads: 2 })
})

/** Plans that hold for both models. */
const SPECS = [
  'full',
  'exit:2',
  'gap:0.2',
  'layers:0,2,5',
  'layers:0,2,5,prompt=plan',
  'unified:2x,by=layers',
  'unified:2x,by=layers,prompt=plan',
]

/** The layers come from the policy's state of a sequence. */
const stateful: Policy = {
  kind: 'skip',
  spec: 'stateful',
  prompt: 'plan',
  startSequence: ({ layers }) => ({ kept: [0, layers - 1] }),
  plan: (_, state) => (state as { kept: number[] }).kept,
}

// Random weights answer until they are stopped; the bundled model's answers come back from the template as the same
// tokens, so that there is something to keep of them.
describe.each([
  { name: 'random weights', of: () => model },
  { name: 'ripple-8m', of: () => ripple },
])('a chat with $name', ({ of }) => {
  it.each<[string, Depth]>([...SPECS.map((spec): [string, Depth] => [spec, spec]), ['a policy with state', stateful]])(
    'answers every turn as a fresh run would under %s',
    async (_, depth) => {
      const chat = of().chat({ ...OPTIONS, depth })
      const stop = of().settings.chatStop ?? []
      const results: GenerationResult[] = []
      for (const text of ['big', 'And where do you live, in the forest or by the sea?', 'hot']) {
        const asked = [...chat.messages, { role: 'user', content: text } as const]
        const result = await chat.send(text).result
        const fresh = await of().generate(asked, { ...OPTIONS, depth, stop }).result
        expect(result.promptTokens).toEqual(fresh.promptTokens)
        expect(result.tokens).toEqual(fresh.tokens)
        expect(result.depths).toEqual(fresh.depths)
        expect(result.finishReason).toBe(fresh.finishReason)
        results.push(result)
      }
      expect(chat.messages.map((m) => m.role)).toEqual(['user', 'assistant', 'user', 'assistant', 'user', 'assistant'])
      expect(chat.messages.at(-1)?.content).toBe(results.at(-1)?.text.trim())
      chat.dispose()
    },
  )
})

describe('a chat', () => {
  it('prefills from the first position that a layer lacks', async () => {
    const step = vi.spyOn(Engine.prototype, 'step')
    try {
      for (const depth of ['full', 'layers:0,5', 'layers:0,5,prompt=plan', 'exit:15', 'exit:2']) {
        const chat = ripple.chat({ ...OPTIONS, depth })
        const first = await chat.send('big').result
        step.mockClear()
        const second = await chat.send('Why?').result
        const [feed] = step.mock.calls[0]![0]
        const kept = second.promptTokens.length - feed!.ids.length
        const shared = sharedLength([...first.promptTokens, ...first.tokens.slice(0, -1)], second.promptTokens)
        if (depth === 'full') expect(shared).toBeGreaterThan(first.promptTokens.length)
        // Under a skip plan the answer's positions lack layers; the prompt's lack none, or the same ones as before.
        expect(kept, depth).toBe(depth === 'layers:0,5' ? Math.min(shared, first.promptTokens.length) : shared)
        expect(kept).toBeGreaterThan(4)
        chat.dispose()
      }
    } finally {
      step.mockRestore()
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
