import { beforeAll, describe, expect, it } from 'vitest'
import { useWorkspace } from '../../../test/workspace.js'
import type { Model } from '../api.js'
import type { ForcedText } from '../known-text.js'

const LAYERS = 6
const workspace = useWorkspace()
let model: Model
let texts: ForcedText[]
beforeAll(async () => {
  model = await workspace.loadRandom(5, { layers: LAYERS })
  texts = [
    [40, 9],
    [7, 6],
    [300, 30],
    [33, 1],
    [90, 80],
  ].map(([length, promptLength], t) => ({
    ids: Array.from({ length: length as number }, (_, i) => (i * i * (t + 3) + 7 * t + 5 * i) % 64),
    promptLength: promptLength as number,
  }))
})

const PLANS = [[0, 1, 2, 3, 4, 5], [0, 5], [0, 2, 3, 5], [3], [1, 4]]

describe('losses of texts under plans', () => {
  it('are those of the same tokens fed one by one', async () => {
    const losses = model.planLosses(texts)
    for (const plan of PLANS) {
      const all = await losses.of(plan)
      for (const [i, { ids, promptLength }] of texts.entries()) {
        const { loss } = await model.score(ids, { promptLength, depth: `layers:${plan.join(',')}` })
        expect(Math.abs((all[i] as number) / (ids.length - promptLength) - loss)).toBeLessThan(1e-4)
      }
    }
    await losses.dispose()
  })

  it('are those of the layers alone where the prompt runs the plan', async () => {
    const losses = model.planLosses(texts, { prompt: 'plan' })
    const full = await losses.of([0, 1, 2, 3, 4, 5])
    const { logits } = await model.trace((texts[0] as ForcedText).ids)
    const { ids, promptLength } = texts[0] as ForcedText
    let wanted = 0
    for (let p = promptLength - 1; p < ids.length - 1; p++) {
      const row = logits.subarray(p * 64, (p + 1) * 64)
      const most = Math.max(...row)
      wanted +=
        most + Math.log(row.reduce((sum, x) => sum + Math.exp(x - most), 0)) - (row[ids[p + 1] as number] as number)
    }
    expect(Math.abs((full[0] as number) - wanted)).toBeLessThan(1e-3)
    // The prompt itself under a plan: other numbers than with a prompt at full depth.
    const shallow = await losses.of([0, 5])
    const beside = model.planLosses(texts)
    expect(Math.abs((shallow[0] as number) - ((await beside.of([0, 5]))[0] as number))).toBeGreaterThan(1e-3)
    await Promise.all([losses.dispose(), beside.dispose()])
  })

  it('are the same for a part of the texts, in any order of plans', async () => {
    const losses = model.planLosses(texts)
    const part = await losses.of([0, 2, 5], { from: 1, to: 3 })
    await losses.of([0, 1, 2, 3, 4, 5])
    const whole = await losses.of([0, 2, 5])
    expect(part).toHaveLength(2)
    for (const [i, value] of part.entries()) expect(Math.abs(value - (whole[i + 1] as number))).toBeLessThan(1e-3)
    expect((await losses.prompts()).map(({ topProb }) => topProb > 0 && topProb <= 1)).toEqual(texts.map(() => true))
    await losses.dispose()
  })

  it('refuse texts and plans that cannot be run', async () => {
    expect(() => model.planLosses([{ ids: [1, 2], promptLength: 2 }])).toThrow(/prompt length must be from 1 to 1/)
    expect(() => model.planLosses([{ ids: [1, 99], promptLength: 1 }])).toThrow(/out of range/)
    const losses = model.planLosses(texts)
    await expect(losses.of([0, 9])).rejects.toMatchObject({ code: 'spec_invalid' })
    await expect(losses.of([0, 1], { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'aborted' })
    expect(await losses.of([0, 1])).toHaveLength(texts.length)
    await losses.dispose()
  })
})
