import { describe, expect, it } from 'vitest'
import { GEMMA3, realModel, SMOLLM2 } from '../../../test/real-model.mjs'
import { useWorkspace } from '../../../test/workspace.js'
import { firstBelieved } from './first-check.js'

const workspace = useWorkspace()

describe('the layer where checks may begin', () => {
  it('is above every layer that is sure and mostly wrong', () => {
    const last = { top: [1, 2, 3, 4], gap: [0.1, 0.9, 0.5, 0.2] }
    const unsure = { top: [9, 9, 9, 9], gap: [0.8, 0, 0.1, 0.2] }
    const wrong = { top: [1, 9, 9, 4], gap: [0.9, 0.9, 0.9, 0.1] }
    const half = { top: [1, 9, 9, 9], gap: [0.9, 0.9, 0.1, 0.1] }
    expect(firstBelieved([unsure, half, last])).toBe(0)
    expect(firstBelieved([wrong, unsure, half, last])).toBe(1)
    expect(firstBelieved([half, unsure, wrong, last])).toBe(3)
    expect(firstBelieved([last])).toBe(0)
  })

  it('is 0 on the bundled models, on which thresholds were tried, and without a tokenizer', async () => {
    expect((await (await workspace.load('ripple-8m')).policy('gap:0.8')).spec).toBe('gap:0.8')
    expect((await (await workspace.loadRandom(5)).policy('gap:0.8')).spec).toBe('gap:0.8')
  })

  for (const { name, file, least, most } of [
    { name: 'SmolLM2', file: SMOLLM2, least: 16, most: 25 },
    { name: 'Gemma 3', file: GEMMA3, least: 11, most: 15 },
  ]) {
    const path = realModel(file)
    it.skipIf(path === null)(`is found for ${name}, where the lowest layers are sure of nonsense`, async () => {
      const model = await workspace.load(path as string)
      const { spec, notes } = await model.policy('gap:0.8')
      const from = Number(/^gap:0\.8,from=(\d+)$/.exec(spec)?.[1])
      expect(from).toBeGreaterThanOrEqual(least)
      expect(from).toBeLessThanOrEqual(most)
      expect(notes).toEqual([expect.stringMatching(/^checks begin after layer \d+:/)])
      for (const own of ['gap:0.8,from=0', 'entropy:0.3,layers=3,5', `calm:0.9,from=${from}`]) {
        expect((await model.policy(own)).spec).toBe(own)
      }
      await model.dispose()
    })
  }
})
