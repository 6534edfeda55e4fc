import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { useWorkspace } from '../../test/workspace.js'
import { parseDynamicFile, planFor } from './dynamic-file.js'
import type { SkipPolicy } from './policy.js'
import { parseDepth } from './spec.js'

const FILE = {
  format: 'shoal-policy',
  version: 1,
  kind: 'dynamic',
  created: '2026-01-31T12:00:00Z',
  model: { name: null, fingerprint: null, layers: 6 },
  feature: 'top_prob',
  plans: [
    [0, 5],
    [0, 2, 5],
    [0, 1, 2, 4, 5],
  ],
  thresholds: [0.8, 0.3],
  mean_depth: 3.2,
}
const read = (changes: object) => parseDynamicFile('f.json', JSON.stringify({ ...FILE, ...changes }))
const pass = (topProb: number, entropy = 1) => ({ topProb, gap: topProb / 2, entropy })

const workspace = useWorkspace()

describe('a policy of several plans', () => {
  it('gives the smallest plan whose threshold is met', () => {
    const of = (topProb: number) => planFor(read({}), pass(topProb)).length
    expect([0.9, 0.8, 0.79, 0.3, 0.1].map(of)).toEqual([2, 2, 3, 3, 5])
    const rising = read({ feature: 'entropy', thresholds: [1, 2] })
    expect([0.5, 1, 1.5, 2, 3].map((entropy) => planFor(rising, pass(0.5, entropy)).length)).toEqual([2, 2, 3, 3, 5])
    expect(planFor(read({ plans: [[0, 5]], thresholds: [] }), pass(0)).length).toBe(2)
  })

  it('is read with care', () => {
    expect(() => read({ kind: 'plan' })).toThrow(/f\.json: holds a policy of kind "plan"/)
    expect(() => read({ thresholds: [0.8] })).toThrow(/thresholds must be a list of 2/)
    expect(() => read({ thresholds: [0.3, 0.8] })).toThrow(/thresholds\[1\] must not be more/)
    expect(() => read({ feature: 'entropy' })).toThrow(/thresholds\[1\] must not be less/)
    expect(() =>
      read({
        plans: [
          [0, 2, 5],
          [0, 5],
          [0, 1, 2, 5],
        ],
      }),
    ).toThrow(/plans\[1\] must have more layers/)
    expect(() =>
      read({
        plans: [
          [0, 6],
          [0, 1, 2],
          [0, 1, 2, 3],
        ],
      }),
    ).toThrow(/layer 6 does not exist/)
    expect(() => read({ feature: 'state' })).toThrow(/feature must be/)
    expect(() => read({ extra: 1 })).toThrow(/unknown field extra/)
    expect(() => read({ mean_depth: 9 })).toThrow(/mean_depth must be a number from 1 to 6/)
  })

  it('picks by the prompt, for each sequence of a batch, and never before', async () => {
    const model = await workspace.loadRandom(8, { layers: 6 })
    const prompts = Array.from({ length: 12 }, (_, t) =>
      Array.from({ length: 5 + t }, (_, i) => (i * i * (t + 3) + 7 * t) % 64),
    )
    const tops: number[] = []
    for (const prompt of prompts) {
      const { logits } = await model.predict(prompt, { depth: 'full' })
      const row = logits[0] as Float32Array
      const most = Math.max(...row)
      tops.push(1 / row.reduce((sum, x) => sum + Math.exp(x - most), 0))
    }
    const ranked = [...tops].sort((a, b) => b - a)
    const thresholds = [ranked[3] as number, ranked[7] as number].map((t) => t - 1e-4)
    const path = join(workspace.folder, 'dynamic.policy.json')
    writeFileSync(path, JSON.stringify({ ...FILE, thresholds }))
    const depth = `dynamic:${path}`
    const wanted = tops.map((t) => (t >= (thresholds[0] as number) ? 2 : t >= (thresholds[1] as number) ? 3 : 5))
    expect(new Set(wanted).size).toBe(3)
    const results = await Promise.all(
      prompts.map((prompt) => model.generate(prompt, { depth, maxTokens: 4, ignoreEos: true }).result),
    )
    expect(results.map(({ depths }) => depths)).toEqual(wanted.map((n) => [6, n, n, n]))
    const [searched] = await Promise.all([
      model.beamSearch(prompts[0] as number[], { depth, beams: 2, maxTokens: 3 }),
      model.generate(prompts[0] as number[], { depth, maxTokens: 4, lossless: true }).result,
    ])
    expect(searched.depths.slice(1).every((n) => n === wanted[0])).toBe(true)
    const { depth: scored } = await model.score(prompts[11] as number[], { depth, promptLength: 5 })
    const alone = await model.predict((prompts[11] as number[]).slice(0, 5), { depth, continuation: [1] })
    expect(new Set(scored).size).toBe(1)
    expect(alone.logits).toHaveLength(2)
    // Unobserved, a sequence runs the largest plan.
    const policy = parseDepth(depth, { layers: 6 }) as SkipPolicy
    const state = policy.startSequence?.({ layers: 6, promptTokens: 3, maxTokens: 4 })
    expect(policy.plan({ layers: 6, position: 3, generated: 1 }, state)).toHaveLength(5)
  })
})
