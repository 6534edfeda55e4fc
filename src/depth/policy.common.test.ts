import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SpecError } from '../errors.js'
import type { DepthModel } from './definition.js'
import { allLayers, checkPlan } from './plan.js'
import type { Check, ExitPolicy, Policy } from './policy.js'
import { POLICIES, parseDepth } from './spec.js'

// What every policy must do, whatever its kind. A new policy takes part through its `examples`.

const LAYERS = [1, 2, 5, 16, 22, 32]

/** A model whose layers have been measured; the order is as good as any that keeps the first and the last. */
function modelOf(layers: number): DepthModel {
  return {
    layers,
    order: () => [...allLayers(layers).slice(1, -1).reverse(), ...(layers > 1 ? [layers - 1] : []), 0],
  }
}

/** The policy, or null where the SPEC names layers that this model does not have. */
function parsed(spec: string, layers: number): Policy | null {
  try {
    return parseDepth(spec, modelOf(layers))
  } catch (error) {
    expect(error).toBeInstanceOf(SpecError)
    return null
  }
}

function checkAt(layer: number, seed: number): Check {
  const random = (k: number) => Math.abs(Math.sin(seed * 12.9898 + layer * 78.233 + k * 37.719) * 43758.5453) % 1
  const topProb = random(1)
  const row = Float32Array.from({ length: 8 }, (_, i) => random(i + 3))
  return {
    layer,
    top: Math.floor(random(2) * 8),
    second: 0,
    topProb,
    gap: topProb * random(9),
    entropy: random(10),
    logits: row,
    hidden: row,
    input: row,
    attention: row,
    mlp: row,
  }
}

/** Exit layers of a sequence of tokens whose checks come from `seed`. */
function exitLayers(policy: ExitPolicy, layers: number, seed: number, tokens = 6): number[] {
  const run = startRun(policy, layers, seed)
  return Array.from({ length: tokens }, (_, token) => run(token))
}

function startRun(policy: ExitPolicy, layers: number, seed: number): (token: number) => number {
  const sequence = policy.startSequence?.({ layers, promptTokens: 3, maxTokens: 6 })
  const last = policy.lastLayer?.(layers) ?? layers - 1
  return (token) => {
    const state = policy.startToken?.({ position: 2 + token, generated: token }, sequence)
    for (const layer of policy.checkLayers(layers)) {
      if (layer >= last) break
      if (policy.exits(checkAt(layer, seed + token), state, sequence)) return layer
    }
    return last
  }
}

describe.each(POLICIES.map((definition) => [definition.kind, definition] as const))('%s', (kind, definition) => {
  it('is found by its kind and explains itself', () => {
    expect(definition.usage.startsWith(kind)).toBe(true)
    expect(definition.summary).not.toBe('')
    expect(definition.examples.length).toBeGreaterThan(0)
    for (const key of Object.keys(definition.keys)) expect(definition.usage).toContain(`${key}=`)
  })

  it('has examples that fit a model of 16 layers', () => {
    for (const spec of definition.examples) expect(() => parseDepth(spec, modelOf(16))).not.toThrow()
  })

  it('names its known keys when it is given an unknown one', () => {
    for (const spec of definition.examples) {
      const wrong = () => parseDepth(`${spec},colour=red`, modelOf(16))
      expect(wrong).toThrow(SpecError)
      expect(wrong).toThrow(/unknown key "colour"/)
      for (const key of Object.keys(definition.keys)) expect(wrong).toThrow(new RegExp(`\\b${key}\\b`))
    }
  })

  it('refuses a key that stands twice', () => {
    for (const key of Object.keys(definition.keys)) {
      expect(() => parseDepth(`${definition.examples[0]},${key}=1,${key}=1`, modelOf(16))).toThrow(/stands twice/)
    }
  })

  describe.each(LAYERS)('with %i layers', (layers) => {
    const policies = definition.examples.flatMap((spec) => parsed(spec, layers) ?? [])

    it('has a canonical SPEC that parses to itself', () => {
      for (const policy of policies) {
        const again = parseDepth(policy.spec, modelOf(layers))
        expect(again.spec).toBe(policy.spec)
        expect(again.kind).toBe(policy.kind)
        expect(again.notes ?? []).toEqual(policy.notes ?? [])
      }
    })

    it('plans layers of the model, ascending, and never more of them than before', () => {
      for (const policy of policies) {
        if (policy.kind !== 'skip') continue
        const sequence = policy.startSequence?.({ layers, promptTokens: 3, maxTokens: 6 })
        let before: readonly number[] | null = null
        for (let generated = 0; generated < 6; generated++) {
          const plan = policy.plan({ position: 2 + generated, generated, layers }, sequence)
          checkPlan(plan, layers, policy.spec)
          if (before !== null) expect(before).toEqual(expect.arrayContaining([...plan]))
          before = plan
        }
      }
    })

    it('checks layers in ascending order and never the last one', () => {
      for (const policy of policies) {
        if (policy.kind !== 'exit') continue
        const checks = policy.checkLayers(layers)
        if (checks.length > 0) checkPlan(checks, Math.max(layers - 1, 1), policy.spec)
        expect(checks.every((layer) => layer < layers - 1)).toBe(true)
        expect(policy.lastLayer?.(layers) ?? 0).toBeLessThan(layers)
      }
    })

    it('decides alike on the same checks', () => {
      for (const policy of policies) {
        if (policy.kind !== 'exit') continue
        fc.assert(
          fc.property(fc.nat(1000), (seed) => {
            expect(exitLayers(policy, layers, seed)).toEqual(exitLayers(policy, layers, seed))
            const again = parseDepth(policy.spec, modelOf(layers)) as ExitPolicy
            expect(exitLayers(again, layers, seed)).toEqual(exitLayers(policy, layers, seed))
          }),
          { numRuns: 20 },
        )
      }
    })

    it('keeps the sequences of a batch apart', () => {
      for (const policy of policies) {
        if (policy.kind !== 'exit') continue
        const runs = [1, 2, 3].map((seed) => startRun(policy, layers, seed))
        const together = runs.map(() => [] as number[])
        for (let token = 0; token < 6; token++) {
          for (const [i, run] of runs.entries()) together[i]!.push(run(token))
        }
        expect(together).toEqual([1, 2, 3].map((seed) => exitLayers(policy, layers, seed)))
      }
    })

    it('gives the same layers each time', () => {
      for (const policy of policies) {
        const read = () =>
          policy.kind === 'exit'
            ? policy.checkLayers(layers)
            : policy.plan(
                { position: 3, generated: 1, layers },
                policy.startSequence?.({ layers, promptTokens: 3, maxTokens: 6 }),
              )
        const first = [...read()]
        read()
        expect([...read()]).toEqual(first)
      }
    })
  })
})
