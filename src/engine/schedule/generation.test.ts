import { beforeAll, describe, expect, it, vi } from 'vitest'
import { rowOf } from '../../../test/compare.js'
import { useWorkspace } from '../../../test/workspace.js'
import type { ExitPolicy, SkipPolicy } from '../../depth/policy.js'
import { InputError, SpecError } from '../../errors.js'
import type { GeneratedToken, GenerateOptions, Generation, GenerationResult, LoadOptions, Model } from '../api.js'
import { Engine } from '../run/engine.js'

const workspace = useWorkspace()
const GREEDY = { ignoreEos: true } as const

let model: Model
let withText: Model
beforeAll(async () => {
  model = await workspace.loadRandom(51, {}, { context: 512 })
  withText = await workspace.loadRandom(52, { tokenizer: true, layers: 3 })
})

async function collect(generation: Generation, most = Number.POSITIVE_INFINITY): Promise<GeneratedToken[]> {
  const tokens: GeneratedToken[] = []
  for await (const token of generation) {
    tokens.push(token)
    if (tokens.length >= most) break
  }
  return tokens
}

/** Resolves once a generation has given a token. */
async function firstToken(generation: Generation): Promise<void> {
  for (;;) {
    if (generation.partial().tokens.length > 0) return
    await new Promise((resolve) => setImmediate(resolve))
  }
}

const never = { kind: 'exit', spec: 'never', checkLayers: () => [0, 1, 2], exits: () => false } satisfies ExitPolicy

describe('a generation', () => {
  it('streams what its result holds', async () => {
    const generation = withText.generate('Once upon a time', { maxTokens: 24, ...GREEDY, depth: 'gap:0.3' })
    const streamed = await collect(generation)
    const result = await generation.result
    expect(streamed.map((t) => t.id)).toEqual(result.tokens)
    expect(streamed.map((t) => t.depth)).toEqual(result.depths)
    expect(streamed.map((t) => t.logprob)).toEqual(result.logprobs)
    expect(streamed.map((t) => t.text).join('')).toBe(result.text)
    expect(result.text).toBe(withText.tokenizer!.decode(result.tokens, { skipSpecialTokens: true }))
    expect(result.promptTokens).toEqual(withText.tokenizer!.encode('Once upon a time'))
    expect(result.finishReason).toBe('length')
    expect(result.depth).toBe('gap:0.3')
    expect(result.layers).toBe(3)
    expect(result.meanDepth).toBeCloseTo(result.depths.reduce((a, b) => a + b, 0) / 24, 9)
    expect(generation.partial()).toEqual(result)
  })

  it('can be iterated twice, and after its end', async () => {
    const generation = model.generate([1, 2, 3], { maxTokens: 5, ...GREEDY })
    const [a, b] = await Promise.all([collect(generation), collect(generation)])
    expect(a).toEqual(b)
    expect(await collect(generation)).toEqual(a)
  })

  it('is greedy by default and tells log-probabilities of the model', async () => {
    const prompt = [5, 9, 2]
    const { tokens, logprobs, depths } = await model.generate(prompt, { maxTokens: 6, ...GREEDY }).result
    const { logits } = await model.trace([...prompt, ...tokens])
    tokens.forEach((id, i) => {
      const row = rowOf(logits, prompt.length - 1 + i, 64)
      const largest = Math.max(...row)
      expect(row[id]).toBeCloseTo(largest, 4)
      expect(logprobs[i]).toBeCloseTo(
        row[id]! - largest - Math.log(row.reduce((s, v) => s + Math.exp(v - largest), 0)),
        4,
      )
    })
    expect(depths).toEqual(Array(6).fill(4))
  })

  it('gives the same tokens for the same seed and tells the seed', async () => {
    const options = { maxTokens: 16, ...GREEDY, temperature: 1.2 }
    const first = await model.generate([7], options).result
    const again = await model.generate([7], { ...options, seed: first.seed }).result
    const other = await model.generate([7], { ...options, seed: first.seed + 1 }).result
    expect(again.tokens).toEqual(first.tokens)
    expect(other.tokens).not.toEqual(first.tokens)
  })

  it('counts row-layers, layer passes and waiting rows', async () => {
    const prompt = [1, 2, 3, 4, 5]
    const run = (depth: string) => model.generate(prompt, { maxTokens: 7, ...GREEDY, depth }).result
    expect(await run('full')).toMatchObject({
      rowLayers: 28,
      layerPasses: 28,
      rowsWaiting: 0,
      checkMs: 0,
      meanDepth: 4,
    })
    expect(await run('layers:0,3')).toMatchObject({
      rowLayers: 4 + 6 * 2,
      layerPasses: 4 + 6 * 2,
      rowsWaiting: 0,
      depths: [4, 2, 2, 2, 2, 2, 2],
    })
    expect(await run('layers:0,3,prompt=plan')).toMatchObject({ rowLayers: 14, depths: Array(7).fill(2) })
    // The last new token is never fed: 5 + 6 rows wait above layer 1.
    expect(await run('exit:1')).toMatchObject({
      rowLayers: 14,
      layerPasses: 14,
      rowsWaiting: 11,
      depths: Array(7).fill(2),
    })
    const alternating: ExitPolicy<unknown, number> = {
      kind: 'exit',
      spec: 'a',
      checkLayers: () => [1],
      startToken: (t) => t.generated,
      exits: (_, n) => n % 2 === 0,
    }
    const result = await model.generate(prompt, { maxTokens: 4, ...GREEDY, depth: alternating }).result
    expect(result.depths).toEqual([2, 4, 2, 4])
    // Four rows gave tokens, and in the end each of them has run all four layers; the prompt's other rows do not count.
    expect(result).toMatchObject({ rowLayers: 4 * 4, layerPasses: 2 + 4 + 2 + 4, rowsWaiting: 0 })
    expect(result.checkMs).toBeGreaterThan(0)
  })

  it('shares steps with what runs beside it', async () => {
    const step = vi.spyOn(Engine.prototype, 'step')
    try {
      const options = { maxTokens: 6, ...GREEDY }
      const all = await Promise.all([[1, 2], [3, 4, 5], [6]].map((ids) => model.generate(ids, options).result))
      expect(step.mock.calls.map(([feeds]) => feeds.length)).toEqual(Array(6).fill(3))
      for (const result of all) expect(result.layerPasses).toBe(24)
      // One that comes later joins the batch that runs.
      step.mockClear()
      let second: Generation | null = null
      const starting: ExitPolicy = {
        ...never,
        startToken: ({ generated }) => {
          if (generated === 3) second = model.generate([3], options)
        },
      }
      await model.generate([1, 2], { ...options, maxTokens: 40, depth: starting }).result
      expect((await second!.result).tokens).toHaveLength(6)
      const sizes = step.mock.calls.map(([feeds]) => feeds.length)
      expect(sizes).toHaveLength(40)
      expect(sizes.filter((n) => n === 2)).toHaveLength(6)
    } finally {
      step.mockRestore()
    }
  })
})

describe('the end of a generation', () => {
  it('comes at maxTokens', async () => {
    expect((await model.generate([1], { maxTokens: 1, ...GREEDY }).result).tokens).toHaveLength(1)
    expect((await model.generate([1], GREEDY).result).tokens).toHaveLength(128)
  })

  it('comes at the context, with "length"', async () => {
    const narrow = await workspace.loadRandom(51, {}, { context: 20 })
    expect(narrow.context).toBe(20)
    for (const depth of ['full', 'exit:1', 'layers:0,2']) {
      const result = await narrow.generate(Array(15).fill(3), { maxTokens: 50, ...GREEDY, depth }).result
      // 20 positions: 15 of the prompt and 5 fed tokens; the sixth comes from the last one's logits.
      expect(result).toMatchObject({ finishReason: 'length', tokens: { length: 6 } })
    }
    expect((await narrow.generate(Array(20).fill(3), GREEDY).result).tokens).toHaveLength(1)
    expect(() => narrow.generate(Array(21).fill(3))).toThrow('the prompt has 21 tokens, and the context holds 20')
    await expect(narrow.trace(Array(21).fill(3))).rejects.toMatchObject({ code: 'context_exceeded' })
  })

  it('defaults to the smaller of the model context and 4,096', async () => {
    expect((await workspace.loadRandom(1, { context: 100, layers: 1 })).context).toBe(100)
    expect((await workspace.loadRandom(1, { context: 100_000, layers: 1 })).context).toBe(4096)
  })

  it('comes at an end-of-text token, which has no text', async () => {
    const greedy = await withText.generate('Once', { maxTokens: 12, ...GREEDY }).result
    const end = greedy.tokens[3]!
    const ending = await workspace.loadRandom(52, { tokenizer: true, layers: 3, eosTokenId: end })
    const result = await ending.generate('Once', { maxTokens: 12 }).result
    expect(result.finishReason).toBe('eos')
    const at = greedy.tokens.indexOf(end)
    expect(result.tokens).toEqual(greedy.tokens.slice(0, at + 1))
    expect(result.text).toBe(withText.tokenizer!.decode(greedy.tokens.slice(0, at), { skipSpecialTokens: true }))
    expect((await ending.generate('Once', { maxTokens: 12, ignoreEos: true }).result).tokens).toEqual(greedy.tokens)
  })

  it('comes at any token with the text of all tokens, in the middle of a character too', async () => {
    const { tokens } = await withText.generate('Once', { maxTokens: 24, ...GREEDY, temperature: 3, seed: 4 }).result
    for (let maxTokens = 1; maxTokens <= tokens.length; maxTokens++) {
      const generation = withText.generate('Once', { maxTokens, ...GREEDY, temperature: 3, seed: 4 })
      const streamed = (await collect(generation)).map((t) => t.text).join('')
      const result = await generation.result
      expect(result.tokens).toEqual(tokens.slice(0, maxTokens))
      expect(streamed).toBe(result.text)
      expect(result.text).toBe(withText.tokenizer!.decode(result.tokens, { skipSpecialTokens: true }))
    }
  })

  it('comes at a stop string, wherever the tokens break', async () => {
    const { text } = await withText.generate('Once', { maxTokens: 12, ...GREEDY }).result
    expect(text.length).toBeGreaterThan(12)
    for (const stop of [text.slice(9, 12), [text.slice(7, 11), 'never said']]) {
      const generation = withText.generate('Once', { maxTokens: 12, ...GREEDY, stop })
      const streamed = (await collect(generation)).map((t) => t.text).join('')
      const result = await generation.result
      const first = Math.min(
        ...[stop].flat().map((s) => (text.indexOf(s) < 0 ? Number.POSITIVE_INFINITY : text.indexOf(s))),
      )
      expect(result).toMatchObject({ finishReason: 'stop', text: text.slice(0, first) })
      expect(streamed).toBe(result.text)
    }
  })
})

describe('stopping a generation', () => {
  it('by a signal that was aborted before', async () => {
    const reason = new Error('no more')
    const generation = model.generate([1], { signal: AbortSignal.abort(reason) })
    await expect(generation.result).rejects.toMatchObject({ code: 'aborted', cause: reason })
    await expect(collect(generation)).rejects.toMatchObject({ code: 'aborted' })
  })

  it('by a signal while it runs; what was done stays readable', async () => {
    const controller = new AbortController()
    const generation = model.generate([1, 2], { maxTokens: 500, ...GREEDY, signal: controller.signal })
    const seen: number[] = []
    await expect(async () => {
      for await (const { id } of generation) {
        seen.push(id)
        if (seen.length === 3) controller.abort()
      }
    }).rejects.toMatchObject({ code: 'aborted' })
    await expect(generation.result).rejects.toMatchObject({ code: 'aborted' })
    expect(generation.partial().tokens.slice(0, seen.length)).toEqual(seen)
    expect(seen.length).toBeLessThan(500)
  })

  it('by a signal while it waits for a slot, at once', async () => {
    const one = await workspace.loadRandom(51, {}, { slots: 1 })
    const first = one.generate([1, 2], { maxTokens: 400, ...GREEDY })
    await firstToken(first)
    const controller = new AbortController()
    const second = one.generate([3], { signal: controller.signal })
    const third = one.generate([3], { signal: AbortSignal.abort() })
    controller.abort()
    await expect(second.result).rejects.toMatchObject({ code: 'aborted' })
    await expect(third.result).rejects.toMatchObject({ code: 'aborted' })
    expect(first.partial().tokens.length).toBeLessThan(400)
    expect((await first.result).tokens).toHaveLength(400)
  })

  it('by one signal for many, without a warning', async () => {
    const one = await workspace.loadRandom(51, {}, { slots: 1 })
    const warned = vi.spyOn(process, 'emitWarning')
    const { signal } = new AbortController()
    const all = Array.from({ length: 24 }, () => one.generate([1, 2], { maxTokens: 2, ...GREEDY, signal }).result)
    await Promise.all(all)
    expect(warned).not.toHaveBeenCalled()
    warned.mockRestore()
  })

  it('after its end changes nothing', async () => {
    const controller = new AbortController()
    const generation = model.generate([1], { maxTokens: 3, ...GREEDY, signal: controller.signal })
    await collect(generation, 3)
    controller.abort()
    expect((await generation.result).tokens).toHaveLength(3)
  })

  it('by leaving the loop', async () => {
    const generation = model.generate([1], { maxTokens: 300, ...GREEDY })
    expect(await collect(generation, 2)).toHaveLength(2)
    await expect(generation.result).rejects.toMatchObject({ code: 'aborted' })
    expect(generation.partial().tokens.length).toBeLessThan(300)
  })

  it('by disposing the model, also of what waits', async () => {
    const short = await workspace.loadRandom(51, {}, { slots: 2 })
    const generations = Array.from({ length: 4 }, (_, i) => short.generate([i + 1], { maxTokens: 400, ...GREEDY }))
    const chat = short.trace([1, 2, 3])
    const settled = Promise.allSettled([...generations.map((g) => g.result), chat])
    await firstToken(generations[0]!)
    await short.dispose()
    await short.dispose()
    for (const outcome of (await settled).slice(0, 4))
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'disposed' } })
    expect(() => short.generate([1])).toThrow(/disposed/)
    await expect(short.trace([1])).rejects.toMatchObject({ code: 'disposed' })
    await expect(short.score([1, 2], { promptLength: 1 })).rejects.toMatchObject({ code: 'disposed' })
  })

  it('of a trace and a score by their signals', async () => {
    const signal = AbortSignal.abort()
    await expect(model.trace([1, 2], { signal })).rejects.toMatchObject({ code: 'aborted' })
    await expect(model.score([1, 2], { promptLength: 1, signal })).rejects.toMatchObject({ code: 'aborted' })
    const controller = new AbortController()
    const fed: number[] = []
    const score = model.score(Array(30).fill(1), {
      promptLength: 1,
      signal: controller.signal,
      onProgress: (n, total) => {
        expect(total).toBe(29)
        fed.push(n)
        if (n === 4) controller.abort()
      },
    })
    await expect(score).rejects.toMatchObject({ code: 'aborted' })
    expect(fed).toEqual([1, 2, 3, 4])
  })
})

describe('what goes wrong in one generation', () => {
  it('leaves the others alone, and the model usable', async () => {
    const options = { maxTokens: 10, ...GREEDY }
    const expected = await model.generate([4, 5], options).result
    const failing = (at: number): ExitPolicy<{ checks: number }> => ({
      ...never,
      startSequence: () => ({ checks: 0 }),
      exits: (_, __, state) => {
        if (state.checks++ === at) throw new Error(`failed at ${at}`)
        return false
      },
    })
    const shrinkFails = {
      kind: 'skip',
      spec: 'grows',
      prompt: 'plan',
      plan: (t: { generated: number }) => (t.generated < 4 ? [0] : [0, 1]),
    } as const
    const startFails: ExitPolicy = {
      ...never,
      startToken: ({ generated }) => {
        if (generated === 2) throw new Error('failed to start')
      },
    }
    const all = await Promise.allSettled([
      model.generate([4, 5], options).result,
      model.generate([1], { ...options, depth: failing(0) }).result,
      model.generate([1], { ...options, depth: failing(11) }).result,
      model.generate([1], { ...options, depth: shrinkFails }).result,
      model.generate([1], { ...options, depth: startFails }).result,
      model.generate([4, 5], { ...options, depth: never }).result,
    ])
    expect(all.map((o) => (o.status === 'fulfilled' ? o.value.tokens : String(o.reason)))).toEqual([
      expected.tokens,
      'Error: failed at 0',
      'Error: failed at 11',
      expect.stringMatching(/depth "grows" adds layer 1/),
      'Error: failed to start',
      expected.tokens,
    ])
    expect((await model.generate([4, 5], options).result).tokens).toEqual(expected.tokens)
  })

  it('is an error also where nothing was thrown', async () => {
    const depth: ExitPolicy = {
      ...never,
      exits: () => {
        throw undefined
      },
    }
    const start: ExitPolicy = {
      ...never,
      startToken: ({ generated }) => {
        if (generated === 1) throw undefined
      },
    }
    await expect(model.generate([1], { ...GREEDY, depth }).result).rejects.toThrow('undefined was thrown')
    await expect(model.generate([1], { ...GREEDY, depth: start }).result).rejects.toThrow('undefined was thrown')
  })

  it('is said at once where an option is wrong', () => {
    const wrong: [GenerateOptions, RegExp, unknown?][] = [
      [{ maxTokens: 0 }, /maxTokens/],
      [{ maxTokens: 1.5 }, /maxTokens/],
      [{ temperature: -1 }, /temperature/],
      [{ temperature: Number.NaN }, /temperature/],
      [{ topK: -1 }, /topK|top-k|top_k/i],
      [{ topP: 2 }, /topP|top-p|top_p/i],
      [{ minP: -0.5 }, /minP|min-p|min_p/i],
      [{ repetitionPenalty: 0 }, /repetition/i],
      [{ seed: -1 }, /seed/],
      [{ stop: 'x' }, /stop strings need a tokenizer/],
      [{ depth: {} as ExitPolicy }, /a SPEC or a policy object/],
      [{ depth: 'gap:2' }, /gap:2/, SpecError],
      [{ depth: 'exit:9' }, /layer 9/, SpecError],
      [{ depth: 'gap:0.5,foo=1' }, /foo/, SpecError],
    ]
    for (const [options, message, type] of wrong) {
      expect(() => model.generate([1], options), JSON.stringify(options)).toThrow(message)
      expect(() => model.generate([1], options)).toThrow((type ?? InputError) as typeof InputError)
    }
    expect(() => withText.generate('x', { stop: '' })).toThrow(/stop string/)
  })

  it('is said at once where the prompt is wrong', async () => {
    expect(() => model.generate([])).toThrow(/no tokens/)
    expect(() => model.generate([64])).toThrow('token id 64 is out of range: the ids are 0 to 63')
    expect(() => model.generate([1.5])).toThrow(/out of range/)
    expect(() => model.generate([-1])).toThrow(/out of range/)
    expect(() => model.generate([1, undefined as unknown as number])).toThrow(/out of range/)
    expect(() => model.generate('text')).toThrow(/has no tokenizer files/)
    expect(() => model.chat()).toThrow(/has no tokenizer files/)
    await expect(model.trace([99])).rejects.toThrow(/token id 99/)
    await expect(model.score([1, 2], { promptLength: 3 })).rejects.toThrow(/prompt length must be from 1 to 2/)
    await expect(model.score([1, 2], { promptLength: 0 })).rejects.toThrow(/prompt length/)
  })

  it('refuses a policy that answers with a promise', async () => {
    const depth = {
      kind: 'exit',
      spec: 'later',
      checkLayers: () => [0],
      exits: () => Promise.resolve(false),
    } as unknown as ExitPolicy
    await expect(model.generate([1], { ...GREEDY, depth, maxTokens: 1 }).result).rejects.toThrow(
      'exits() must return true or false',
    )
  })

  it('looks again at a plan that a policy changes in place', async () => {
    const layers = [0, 1]
    const depth: SkipPolicy = {
      kind: 'skip',
      spec: 'reused',
      prompt: 'plan',
      plan: ({ generated }) => {
        layers[1] = generated === 0 ? 1 : 0
        return layers
      },
    }
    await expect(model.generate([1], { ...GREEDY, depth, maxTokens: 3 }).result).rejects.toThrow(
      'layer 0 is listed twice',
    )
  })

  it('takes its own copy of the ids', async () => {
    const ids = [1, 2, 3]
    const runs = [
      model.generate(ids, { maxTokens: 1 }).result,
      model.trace(ids),
      model.score(ids, { promptLength: 1 }),
      model.predict([1], { continuation: ids }),
    ]
    // An id that does not exist ends the process once it reaches ggml.
    ids.fill(1e6)
    const [generated] = (await Promise.all(runs)) as [GenerationResult]
    expect(generated.promptTokens).toEqual([1, 2, 3])
  })

  it('is said at load where an option is wrong', async () => {
    const { folder } = await workspace.random(1, { layers: 1 })
    // The outcome is a word, not a model: printing one takes a minute.
    const load = (options: LoadOptions) => workspace.load(folder, options).then(() => 'loaded')
    for (const options of [{ threads: 0 }, { slots: 0 }, { context: 0 }, { context: 1.5 }]) {
      await expect(load(options)).rejects.toThrow(/must be a whole number/)
    }
    await expect(load({ device: 'cuda' as 'cpu' })).rejects.toThrow('device "cuda" is not supported yet; use cpu')
    await expect(load({ kvType: 'q4_0' as 'f16' })).rejects.toThrow(/kvType/)
    await expect(load({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'aborted' })
  })
})

describe('waiting for results in turn', () => {
  it('never leaves a call behind, however the caller awaits', async () => {
    const run = async (n: number): Promise<number[]> => {
      const { tokens } = await model.generate([n], { maxTokens: 2, ...GREEDY }).result
      return tokens
    }
    /** Some turns of the microtask queue between the end of one call and the next one. */
    for (let hops = 0; hops < 12; hops++) {
      await run(1)
      for (let i = 0; i < hops; i++) await Promise.resolve()
      expect(await run(2)).toHaveLength(2)
    }
  })
})
