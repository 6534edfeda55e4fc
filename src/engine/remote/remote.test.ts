import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { useWorkspace } from '../../../test/workspace.js'
import type { ExitPolicy, SkipPolicy } from '../../depth/policy.js'
import { SpecError } from '../../errors.js'
import type { Model } from '../api.js'

const workspace = useWorkspace()
const SHAPE = { layers: 6, hidden: 64, vocabulary: 200 }
const PROMPT = [1, 5, 9, 30, 31]
const PLACES = [
  { name: 'a thread', options: { thread: true } },
  { name: 'a process', options: { process: true } },
] as const

describe.each(PLACES)('a model in $name', ({ options }) => {
  let here: Model
  let there: Model
  beforeAll(async () => {
    here = await workspace.loadRandom(401, SHAPE)
    there = await workspace.load(here.path, options)
  })
  afterAll(() => there.dispose())

  it('is the same model', () => {
    expect(there.hyperparameters).toEqual(here.hyperparameters)
    expect(there).toMatchObject({
      parameters: here.parameters,
      context: here.context,
      fingerprint: here.fingerprint,
      endTokens: here.endTokens,
    })
  })

  it('says the same tokens, one by one and as a result', async () => {
    for (const depth of ['full', 'exit:3', 'gap:0.01', 'layers:0,1,2,5']) {
      const asked = { depth, maxTokens: 12, ignoreEos: true }
      const { timing: _t, checkMs: _c, seed: _s, ...expected } = await here.generate(PROMPT, asked).result
      const generation = there.generate(PROMPT, asked)
      const ids: number[] = []
      for await (const { id } of generation) ids.push(id)
      expect(ids).toEqual(expected.tokens)
      expect(await generation.result).toMatchObject(expected)
      expect(generation.partial()).toEqual(await generation.result)
    }
  })

  it('draws the same for a seed, also where a policy drafts', async () => {
    for (const lossless of [false, { drafts: 2 }]) {
      const asked = { depth: 'exit:4', temperature: 0.9, seed: 7, maxTokens: 12, ignoreEos: true, lossless }
      const [a, b] = await Promise.all([here, there].map((model) => model.generate(PROMPT, asked).result))
      expect(b?.tokens).toEqual(a?.tokens)
      expect(b?.seed).toBe(7)
    }
  })

  it('traces, scores, predicts, searches with beams and measures', async () => {
    expect(await there.trace(PROMPT)).toEqual(await here.trace(PROMPT))
    const layers: number[] = []
    const streamed = await there.trace(PROMPT, {
      onLayer: async ({ layer, hidden }) => {
        await Promise.resolve()
        expect(hidden.length).toBe(PROMPT.length * 64)
        layers.push(layer)
      },
    })
    expect(layers).toEqual([0, 1, 2, 3, 4, 5])
    expect(streamed.logits).toEqual((await here.trace(PROMPT)).logits)
    const fed: number[] = []
    const how = { promptLength: 2, depth: 'exit:3' }
    expect(await there.score(PROMPT, { ...how, onProgress: (n) => fed.push(n) })).toEqual(await here.score(PROMPT, how))
    expect(fed).toEqual([1, 2, 3])
    const { ms: _ms, checkMs: _c, ...predicted } = await here.predict(PROMPT, { continuation: [3] })
    expect(await there.predict(PROMPT, { continuation: [3] })).toMatchObject(predicted)
    const beams = { beams: 3, maxTokens: 6, depth: 'gap:0.01' }
    expect((await there.beamSearch(PROMPT, beams)).beams).toEqual((await here.beamSearch(PROMPT, beams)).beams)
    expect(await there.status()).toMatchObject({ running: 0, waiting: 0 })
  })

  it('measures what a SPEC needs, and knows it then', async () => {
    const seen: number[] = []
    const costs = await there.costs(1, { anew: true, onMeasure: ({ done }) => seen.push(done) })
    expect(costs.layers).toBe(6)
    expect(seen.at(-1)).toBe(1)
    expect(await there.costs(1)).toEqual(costs)
    const unreadable = there.generate(PROMPT, { depth: 'shortgpt:4' }).result
    await expect(unreadable).rejects.toMatchObject({
      name: 'FileError',
      message: expect.stringMatching(/no tokenizer/),
    })
  })

  it('gives losses of plans, rows of texts, and takes other rows', async () => {
    const texts = [
      { ids: [1, 2, 3, 4, 5], promptLength: 2 },
      { ids: [9, 8, 7], promptLength: 1 },
    ]
    const run = async (model: Model): Promise<unknown[]> => {
      const losses = model.planLosses(texts)
      const seen: unknown[] = []
      seen.push(await losses.of([0, 2, 5]), await losses.prompts())
      const rows: Float32Array[] = []
      await losses.rise({ layers: [0, 1, 2, 3, 4, 5], mlpAfter: [2] }, async (now) => {
        if (now.layer === 1) {
          for (let i = 0; i < now.count; i++) rows.push(now.hidden(i))
          now.write(0, now.hidden(1))
          seen.push(now.hidden(0))
        }
        if (now.layer === 2) seen.push(now.mlp(1))
        if (now.layer === 5) await now.head([0, 1], (index, logits) => seen.push([index, logits.slice()]))
      })
      seen.push(await losses.of([0, 1, 2, 4], { start: { layer: 2, row: (i) => rows[i] as Float32Array } }))
      await losses.dispose()
      return seen
    }
    expect(await run(there)).toEqual(await run(here))
  })

  it('asks policies of the caller, which keep their state', async () => {
    const exits: ExitPolicy<{ checks: number }, number> = {
      kind: 'exit',
      spec: 'own exits',
      needs: { logits: true, hidden: true, sublayers: true },
      checkLayers: (layers) => [1, layers - 3],
      startSequence: () => ({ checks: 0 }),
      startToken: ({ position }) => position,
      exits(check, position, sequence) {
        sequence.checks++
        expect(check.logits.length).toBe(200)
        expect([check.hidden, check.input, check.attention, check.mlp].map((row) => row.length)).toEqual([
          64, 64, 64, 64,
        ])
        return (position + sequence.checks + (check.entropy > 0 ? 1 : 0)) % 3 === 0
      },
    }
    const skips: SkipPolicy<{ left: number }> = {
      kind: 'skip',
      spec: 'own skips',
      prompt: 'full',
      startSequence: ({ layers }) => ({ left: layers }),
      observe: (pass, state) => {
        state.left -= pass.entropy > 0 ? 1 : 0
      },
      plan: (_, state) => Array.from({ length: state.left }, (_, i) => i),
    }
    for (const depth of [exits, skips] as const) {
      const asked = { depth, maxTokens: 8, ignoreEos: true }
      const [a, b] = await Promise.all([here, there].map((model) => model.generate(PROMPT, asked).result))
      expect(b?.depths).toEqual(a?.depths)
      expect(b?.tokens).toEqual(a?.tokens)
      const beams = { depth, beams: 2, maxTokens: 4 }
      expect((await there.beamSearch(PROMPT, beams)).beams).toEqual((await here.beamSearch(PROMPT, beams)).beams)
    }
  })

  it('throws what the caller threw, and errors of their own class', async () => {
    const mine = new RangeError('mine')
    const throwing: ExitPolicy = {
      kind: 'exit',
      spec: 'throws',
      checkLayers: () => [1],
      exits: () => {
        throw mine
      },
    }
    await expect(there.generate(PROMPT, { depth: throwing }).result).rejects.toBe(mine)
    const onLayer = (): Promise<void> => Promise.reject(mine)
    await expect(there.trace(PROMPT, { onLayer })).rejects.toBe(mine)
    expect(() => there.generate(PROMPT, { depth: 'gap:2' })).toThrow(SpecError)
    expect(() => there.generate(PROMPT, { depth: 'gap:2' })).toThrow(/gap/)
    await expect(there.score(PROMPT, { promptLength: 9 })).rejects.toMatchObject({ name: 'InputError' })
    const later = { ...throwing, exits: (() => Promise.resolve(true)) as unknown as ExitPolicy['exits'] }
    await expect(there.generate(PROMPT, { depth: later }).result).rejects.toThrow(/must return true or false/)
    const odd = { kind: 'skip', spec: 'odd', prompt: 'full', plan: () => () => 0 } as unknown as SkipPolicy
    await expect(there.generate(PROMPT, { depth: odd }).result).rejects.toThrow(/could not be cloned/)
    const onProgress = (): void => {
      throw mine
    }
    await expect(there.score(PROMPT, { promptLength: 2, onProgress })).rejects.toBe(mine)
    const anything = (() => () => 0) as unknown as () => void
    expect((await there.trace(PROMPT, { onLayer: anything })).logits.length).toBe(PROMPT.length * 200)
    const undeclared: ExitPolicy = {
      kind: 'exit',
      spec: 'u',
      checkLayers: () => [1],
      exits: (check) => check.logits[0] === 0,
    }
    await expect(there.generate(PROMPT, { depth: undeclared }).result).rejects.toThrow(/needs: \{ logits: true \}/)
  })

  it('stops when it is told to, and by leaving the iteration', async () => {
    const stop = new AbortController()
    const generation = there.generate(PROMPT, { maxTokens: 4000, ignoreEos: true, signal: stop.signal })
    const iterate = async (): Promise<void> => {
      for await (const _ of generation) stop.abort('enough')
    }
    await expect(iterate()).rejects.toMatchObject({ code: 'aborted', cause: 'enough' })
    const left = there.generate(PROMPT, { maxTokens: 4000, ignoreEos: true })
    for await (const _ of left) break
    await expect(left.result).rejects.toMatchObject({ code: 'aborted' })
    expect((await there.status()).running).toBe(0)
    const before = AbortSignal.abort('never')
    await expect(there.trace(PROMPT, { signal: before })).rejects.toMatchObject({ code: 'aborted', cause: 'never' })
  })

  it('serves many at once', async () => {
    const prompts = Array.from({ length: 20 }, (_, i) => [1, i + 2, i + 3])
    const expected = await Promise.all(prompts.map((ids) => here.generate(ids, { maxTokens: 6 }).result))
    const results = await Promise.all(prompts.map((ids) => there.generate(ids, { maxTokens: 6 }).result))
    expect(results.map(({ tokens }) => tokens)).toEqual(expected.map(({ tokens }) => tokens))
  })
})

describe('loading into another thread', () => {
  it('tells its progress, and fails as loading here does', async () => {
    const { folder } = await workspace.random(402, SHAPE)
    const seen: string[] = []
    const model = await workspace.load(folder, { thread: true, progress: ({ status }) => seen.push(status) })
    expect(seen[0]).toBe('initiate')
    expect(seen.at(-1)).toBe('ready')
    await model.dispose()
    await model.dispose()
    expect(() => model.generate([1])).toThrow(/disposed/)
    await expect(model.trace([1])).rejects.toMatchObject({ code: 'disposed' })
    await expect(workspace.load('/nowhere/at/all', { thread: true })).rejects.toMatchObject({ code: 'file_missing' })
    const stopped = workspace.load(folder, { thread: true, signal: AbortSignal.abort() })
    await expect(stopped).rejects.toMatchObject({ code: 'aborted' })
  })
})

it('keeps a chat where it computes', async () => {
  const here = await workspace.load('ripple-8m')
  const there = await workspace.load('ripple-8m', { thread: true })
  const [a, b] = [here, there].map((model) => model.chat({ maxTokens: 8 }))
  for (const text of ['The sea', 'And then']) {
    const [expected, answer] = [await a!.send(text).result, await b!.send(text).result]
    expect(answer.text).toBe(expected.text)
    expect(answer.reusedTokens).toBe(expected.reusedTokens)
  }
  expect(b!.messages).toEqual(a!.messages)
  expect((await there.generate('The sea', { depth: 'unified:1.2x', maxTokens: 3 }).result).speedup?.target).toBe(1.2)
  expect((await there.status()).kv.idleBytes).toBeGreaterThan(0)
  b!.dispose()
  await new Promise((resolve) => setTimeout(resolve, 5))
  expect((await there.status()).kv.idleBytes).toBe(0)
})
