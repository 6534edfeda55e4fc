import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { speakChatml } from '../../test/chatml-checkpoint.js'
import { useWorkspace } from '../../test/workspace.js'
import type { Policy } from '../depth/policy.js'
import type { ChatMessage, Depth, GenerationResult, Model } from './api.js'
import { Engine } from './run/engine.js'

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

  it('keeps an answer that was stopped as far as it was said, and goes on from it', async () => {
    const chat = model.chat(OPTIONS)
    await chat.send('One?').result
    const broken = chat.send('Two?')
    for await (const _ of broken) break
    await expect(broken.result).rejects.toMatchObject({ code: 'aborted' })
    const said = broken.partial()
    expect(said.finishReason).toBe('aborted')
    expect(chat.messages.slice(2)).toEqual([
      { role: 'user', content: 'Two?' },
      { role: 'assistant', content: said.text.trim() },
    ])
    const asked = [...chat.messages, { role: 'user', content: 'Three?' } as const]
    const step = vi.spyOn(Engine.prototype, 'step')
    try {
      const result = await chat.send('Three?').result
      const [feed] = step.mock.calls[0]![0]
      expect(feed!.ids.length).toBeLessThan(result.promptTokens.length - said.promptTokens.length + 1)
      expect(result.tokens).toEqual((await model.generate(asked, OPTIONS).result).tokens)
    } finally {
      step.mockRestore()
    }
    chat.dispose()
  })

  it('forgets a turn that was stopped before a word was said', async () => {
    const chat = model.chat(OPTIONS)
    await chat.send('One?').result
    const stopped = chat.send('Two?', { signal: AbortSignal.abort() })
    await expect(stopped.result).rejects.toMatchObject({ code: 'aborted' })
    expect(chat.messages).toHaveLength(2)
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

describe('a chat that is changed on its way', () => {
  let chatml: Model
  beforeAll(async () => {
    const { folder } = await workspace.random(62, { tokenizer: true, layers: 6, kvHeads: 2 })
    await speakChatml(folder)
    chatml = await workspace.load(folder, { context: 400 })
  })

  it('answers as a new conversation with the same messages does, whatever was done before', async () => {
    const words = ['big', 'hot', 'And where do you live?', 'Why?']
    const action = fc.oneof(
      { weight: 4, arbitrary: fc.record({ send: fc.constantFrom(...words), depth: fc.constantFrom(...SPECS) }) },
      {
        weight: 1,
        arbitrary: fc.record({ stopAfter: fc.integer({ min: 1, max: 4 }), depth: fc.constantFrom(...SPECS) }),
      },
      fc.record({ retry: fc.constantFrom(...SPECS) }),
      fc.constant('undo' as const),
      fc.record({ forget: fc.integer({ min: 0, max: 2 }) }),
      fc.record({ system: fc.constantFrom('Be brief.', null) }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(action, { minLength: 3, maxLength: 9 }), async (actions) => {
        const chat = chatml.chat({ ...OPTIONS, maxTokens: 5 })
        const check = async (messages: readonly ChatMessage[], depth: string, said: Promise<GenerationResult>) => {
          const fresh = await chatml.generate(messages, { ...OPTIONS, maxTokens: 5, depth }).result
          const result = await said
          expect(result.promptTokens).toEqual(fresh.promptTokens)
          expect(result.tokens).toEqual(fresh.tokens)
          expect(result.depths).toEqual(fresh.depths)
          expect(chat.messages).toEqual([...messages, { role: 'assistant', content: fresh.text.trim() }])
        }
        for (const action of actions) {
          const { messages } = chat
          if (action === 'undo') {
            const undone = chat.undo()
            const turns = messages.filter(({ role }) => role === 'user').length
            expect(undone).toBe(turns === 0 ? null : messages.at(-2)?.content)
          } else if ('forget' in action) {
            const forgotten = chat.forget(action.forget)
            expect(chat.messages.length).toBe(messages.length - 2 * forgotten)
          } else if ('system' in action) chat.setSystem(action.system)
          else if ('retry' in action) {
            if (messages.at(-1)?.role !== 'assistant') continue
            await check(messages.slice(0, -1), action.retry, chat.retry({ depth: action.retry }).result)
          } else if ('send' in action) {
            const { send: content, depth } = action
            expect(chat.countTokens(content)).toBeGreaterThan(chat.countTokens())
            await check([...messages, { role: 'user', content }], depth, chat.send(content, { depth }).result)
          } else {
            const stopped = chat.send('hot', { depth: action.depth })
            let left = action.stopAfter
            for await (const _ of stopped) if (--left === 0) break
            await stopped.result.catch(() => undefined)
          }
        }
        chat.dispose()
      }),
      { numRuns: 25 },
    )
  })

  it('goes from full depth to a plan and back, and computes anew only what the plan left out', async () => {
    const chat = chatml.chat(OPTIONS)
    await chat.send('big').result
    const planned = await chat.send('hot', { depth: 'unified:2x,by=layers' }).result
    const step = vi.spyOn(Engine.prototype, 'step')
    try {
      const result = await chat.send('Why?').result
      const [feed] = step.mock.calls[0]![0]
      expect(result.promptTokens.length - feed!.ids.length).toBe(planned.promptTokens.length)
    } finally {
      step.mockRestore()
    }
    chat.dispose()
  })

  it('leaves its messages as they are where one does not fit', async () => {
    const chat = chatml.chat(OPTIONS)
    await chat.send('big').result
    const before = chat.messages
    const long = 'word '.repeat(400)
    expect(chat.countTokens(long)).toBeGreaterThan(chatml.context)
    expect(() => chat.send(long)).toThrowError(expect.objectContaining({ code: 'context_exceeded' }) as Error)
    expect(chat.messages).toEqual(before)
    expect((await chat.send('hot').result).tokens).toHaveLength(12)
    chat.dispose()
  })

  it('keeps the answer before where a new one fails', async () => {
    const chat = chatml.chat(OPTIONS)
    await chat.send('big').result
    const before = chat.messages
    await expect(chat.retry({ signal: AbortSignal.abort() }).result).rejects.toMatchObject({ code: 'aborted' })
    expect(chat.messages).toEqual(before)
    chat.dispose()
  })

  it('refuses a system message that its template would leave out', () => {
    expect(() => ripple.chat({ system: 'Be brief.' })).toThrow(/no place for a system message/)
    const chat = ripple.chat()
    expect(() => chat.setSystem('Be brief.')).toThrow(/no place for a system message/)
    expect(() => chat.retry()).toThrow(/no answer/)
    chat.dispose()
  })

  it('needs a chat template', async () => {
    const { folder } = await workspace.random(63, { tokenizer: true })
    await writeFile(join(folder, 'tokenizer_config.json'), '{}')
    const bare = await workspace.load(folder)
    expect(() => bare.chat()).toThrow(/has no chat template/)
  })
})

describe('the end of a turn', () => {
  it('is every token that anybody names: generation_config, config, the tokenizer, the chat template', async () => {
    const { folder } = await workspace.random(64, { tokenizer: true, eosTokenId: 7 })
    const plain = await workspace.load(folder)
    const prompt = plain.tokenizer!.encode('Once upon')
    const { tokens } = await plain.generate(prompt, OPTIONS).result
    const end = tokens.find((id, i) => i >= 2 && id > 1 && tokens.indexOf(id) === i)!
    const start = [4094, 4095].find((id) => !tokens.includes(id))!
    await speakChatml(folder, [start, end])
    await writeFile(join(folder, 'generation_config.json'), JSON.stringify({ eos_token_id: [9, 5000] }))
    const model = await workspace.load(folder)
    // </s> is the tokenizer's own; 5000 is beyond the vocabulary.
    expect(model.endTokens).toEqual([...new Set([1, 7, 9, end])].sort((a, b) => a - b))
    const count = tokens.indexOf(end) + 1
    const cut = tokens.slice(0, count)
    const result = await model.generate(prompt, { maxTokens: 12 }).result
    expect(result).toMatchObject({ tokens: cut, finishReason: 'eos' })

    // It is not shown, and yet a stop string may be it.
    const stop = ['<|im_end|>']
    for (const ignoreEos of [false, true]) {
      const stopped = await model.generate(prompt, { maxTokens: 12, ignoreEos, stop }).result
      expect(stopped).toMatchObject({ tokens: cut, text: result.text, finishReason: 'stop' })
    }
  })
})

function sharedLength(a: readonly number[], b: readonly number[]): number {
  let n = 0
  while (n < a.length && n < b.length - 1 && a[n] === b[n]) n++
  return n
}
