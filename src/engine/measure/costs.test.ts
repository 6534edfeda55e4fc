import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { useWorkspace } from '../../../test/workspace.js'
import { stepMs } from '../../depth/measurement.js'
import type { SkipPolicy } from '../../depth/policy.js'
import { layersInTime } from '../../depth/unified.js'
import type { Model } from '../api.js'
import { isPossible } from './kept-costs.js'
import { neverFalling } from './never-falling.js'

// What is asserted here holds whatever the clock says.

const workspace = useWorkspace()
const PROMPT = [1, 2, 3]
const options = { maxTokens: 8, ignoreEos: true }

describe('costs of a step', () => {
  let folder: string
  let model: Model
  const fresh = (cache: string) => workspace.load(folder, { cacheDir: join(workspace.folder, cache) })
  beforeAll(async () => {
    folder = (await workspace.random(5, { layers: 9, kvHeads: 2 })).folder
    model = await fresh('costs')
  })

  it('add up, and are kept for the next time', async () => {
    const costs = await model.costs(2)
    expect(isPossible(costs)).toBe(true)
    expect(costs).toMatchObject({ batch: 2, layers: 9 })
    expect(costs.plans.map(({ layers }) => layers)).toEqual([2, 3, 4, 5, 6, 7, 8, 9])
    expect(9 * costs.layerMs + costs.headMs + costs.restMs).toBeCloseTo(costs.fullMs, 9)
    const onMeasure = vi.fn()
    const again = await fresh('costs')
    expect(await again.costs(2, { onMeasure })).toEqual(costs)
    expect(onMeasure).not.toHaveBeenCalled()
    await again.costs(2, { onMeasure, anew: true })
    expect(onMeasure).toHaveBeenCalled()
    await expect(model.costs(0)).rejects.toMatchObject({ code: 'input_invalid' })
  })

  it('choose the layers of a plan, which is then fixed', async () => {
    const costs = await model.costs(1)
    const target = costs.fullMs / stepMs(costs, 5)
    const policy = (await model.policy(`unified:${target}x`)) as SkipPolicy
    expect(policy.everyToken).toHaveLength(layersInTime(costs, target)!)
    const result = await model.generate(PROMPT, { ...options, depth: `unified:${target}x` }).result
    expect(result.plan).toEqual(policy.everyToken)
    expect(result.speedup).toMatchObject({ target, predicted: policy.speedup?.predicted, batch: 1 })
    const same = await model.generate(PROMPT, { ...options, depth: `layers:${policy.everyToken?.join()}` }).result
    expect(same).toMatchObject({ tokens: result.tokens, depths: result.depths, plan: result.plan, speedup: null })
  })

  it.each([
    ['no JSON', () => 'no JSON'],
    ['no numbers', (text: string) => text.replace(/"fullMs": [\d.e-]+/g, '"fullMs": "1"')],
    ['times that fall', (text: string) => text.replace(/"ms": [\d.e-]+/, '"ms": 1e9')],
    ['another number of layers', (text: string) => text.replaceAll('"layers": 9', '"layers": 10')],
    ['plans that are none', (text: string) => text.replaceAll('"plans": [', '"plans": [3, ')],
  ])('are measured anew where the cache holds %s', async (name, damage) => {
    const cache = `damaged ${name}`
    await (await fresh(cache)).costs(1)
    const path = join(workspace.folder, cache, 'machine.json')
    writeFileSync(path, damage(readFileSync(path, 'utf8')))
    const onMeasure = vi.fn()
    const costs = await (await fresh(cache)).costs(1, { onMeasure })
    expect(onMeasure).toHaveBeenCalled()
    expect(isPossible(costs)).toBe(true)
  })

  it('are waited for by generations, which then run together', async () => {
    const waiting = await fresh('waiting')
    const depth = 'unified:1.01x'
    const both = [PROMPT, [4, 5]].map((ids) => waiting.generate(ids, { ...options, depth }))
    const other = waiting.generate(PROMPT, options)
    expect(both[0]?.partial()).toMatchObject({ tokens: [], depth, plan: null, speedup: null })
    const [one, two] = await Promise.all(both.map(({ result }) => result))
    const layers = `layers:${one?.plan?.join()}`
    expect(one?.tokens).toEqual((await model.generate(PROMPT, { ...options, depth: layers }).result).tokens)
    expect(two?.tokens).toEqual((await model.generate([4, 5], { ...options, depth: layers }).result).tokens)
    expect((await other.result).plan).toHaveLength(9)
    const predicted = await waiting.predict(PROMPT, { depth })
    expect(predicted.depth).toBe(9)
    const scored = await waiting.score([1, 2, 3, 4], { promptLength: 2, depth })
    expect([...scored.depth]).toEqual([one?.plan?.length, one?.plan?.length])
  })

  it('leave the model as it was', async () => {
    const before = await model.generate(PROMPT, options).result
    await model.costs(3, { anew: true })
    const after = await model.generate(PROMPT, options).result
    expect(after).toMatchObject({ tokens: before.tokens, logprobs: before.logprobs })
  })

  it('do not hold up an error: wrong grammar throws at once, what cannot be rejects', async () => {
    const other = await fresh('errors')
    expect(() => other.generate(PROMPT, { depth: 'unified:0.5x' })).toThrow(/the target speedup must be/)
    expect(() => other.generate(PROMPT, { depth: 'unified:2x,batch=no' })).toThrow(/batch= must be/)
    const impossible = other.generate(PROMPT, { depth: 'unified:999x' })
    await expect(impossible.result).rejects.toMatchObject({ code: 'spec_invalid' })
    await expect(async () => {
      for await (const _ of impossible) expect.unreachable()
    }).rejects.toThrow(/the largest target is/)
    expect(() => other.generate(PROMPT, { depth: 'unified:999x' })).toThrow(/the largest target is/)
  })

  it('end for a caller that is stopped, and with the model', async () => {
    const other = await fresh('stopped')
    const stop = new AbortController()
    const stopped = other.generate(PROMPT, { depth: 'unified:1.01x', signal: stop.signal })
    const goesOn = other.generate(PROMPT, { ...options, depth: 'unified:1.01x' })
    stop.abort()
    await expect(stopped.result).rejects.toMatchObject({ code: 'aborted' })
    expect((await goesOn.result).tokens).toHaveLength(8)
    const alone = other.costs(4, { signal: AbortSignal.timeout(5) })
    await expect(alone).rejects.toMatchObject({ code: 'aborted' })
    const late = other.generate(PROMPT, { depth: 'unified:1.01x,batch=5' })
    const policy = other.policy('unified:1.01x,batch=5')
    const disposed = other.dispose()
    await expect(late.result).rejects.toMatchObject({ code: 'disposed' })
    await expect(policy).rejects.toMatchObject({ code: 'disposed' })
    await disposed
  })

  it('can be measured where the context is short, and where there is one layer', async () => {
    for (const context of [3, 6]) {
      const short = await workspace.load(folder, { context, cacheDir: join(workspace.folder, `short ${context}`) })
      expect(isPossible(await short.costs(2))).toBe(true)
    }
    const none = await workspace.load(folder, { context: 2, cacheDir: join(workspace.folder, 'short 2') })
    await expect(none.costs()).rejects.toThrow(/a context of 2 is too short/)
    const single = await workspace.loadRandom(6, { layers: 1 })
    expect(await single.costs(1)).toMatchObject({ layers: 1, plans: [{ layers: 1 }] })
    expect(((await single.policy('unified:1x')) as SkipPolicy).everyToken).toEqual([0])
    await expect(single.policy('unified:1.5x')).rejects.toThrow(/the largest target is 1x/)
  })
})

it('times that contradict each other share their mean, and full depth stays', () => {
  const plans = (...ms: number[]) => ms.map((value, i) => ({ layers: i + 1, ms: value }))
  expect(neverFalling(plans(1, 2, 3))).toEqual(plans(1, 2, 3))
  expect(neverFalling(plans(1, 4, 2, 5))).toEqual(plans(1, 3, 3, 5))
  expect(neverFalling(plans(3, 2, 1, 5))).toEqual(plans(2, 2, 2, 5))
  expect(neverFalling(plans(1, 7, 5))).toEqual(plans(1, 5, 5))
})
