import { beforeAll, describe, expect, it } from 'vitest'
import { largestDifference, rowOf } from '../../../test/compare.js'
import type { RandomCheckpoint } from '../../../test/random-checkpoint.js'
import { useWorkspace } from '../../../test/workspace.js'
import { features } from '../../depth/features.js'
import { allLayers } from '../../depth/plan.js'
import type { Check, ExitPolicy, PolicyNeeds } from '../../depth/policy.js'
import type { Model } from '../api.js'
import type { Trace } from '../known-text.js'

// A policy gets what it declares, and the values are those of the full model.

const workspace = useWorkspace()
const LAYERS = 4
const HIDDEN = 32
const VOCABULARY = 64
const TOLERANCE = 1e-4

let checkpoint: RandomCheckpoint
let model: Model
let ids: number[]
let full: Trace
beforeAll(async () => {
  checkpoint = await workspace.random(77, { layers: LAYERS, kvHeads: 2 })
  model = await workspace.load(checkpoint.folder)
  ids = Array.from({ length: 16 }, (_, i) => (i * 23 + 5) % VOCABULARY)
  full = await model.trace(ids)
})

interface Seen {
  readonly position: number
  readonly check: Check
}

/** Keeps every check that it is shown; each token stops at a layer that follows from its position. */
function watcher(
  needs: PolicyNeeds,
  seen: Seen[],
  checkLayers: readonly number[] = allLayers(LAYERS - 1),
): ExitPolicy<unknown, number> {
  return {
    kind: 'exit',
    spec: 'watcher',
    needs,
    checkLayers: () => checkLayers,
    startToken: ({ position }) => position,
    exits: (check, position) => {
      seen.push({ position, check })
      return check.layer === position % (LAYERS + 1)
    },
  }
}

function hiddenAt(layer: number, position: number): Float32Array {
  if (layer >= 0) return rowOf(full.hidden[layer]!, position, HIDDEN)
  return rowOf(checkpoint.weights.get('model.embed_tokens.weight')!, ids[position]!, HIDDEN)
}

describe.each([
  ['every layer', allLayers(LAYERS - 1)],
  ['layers 0 and 2', [0, 2]],
  ['layer 1 alone', [1]],
])('checks after %s', (_, layers) => {
  it('show logits, hidden states, inputs and sublayer outputs of the full model', async () => {
    const seen: Seen[] = []
    const depth = watcher({ logits: true, hidden: true, sublayers: true }, seen, layers)
    await model.score(ids, { promptLength: 3, depth })
    expect(seen.length).toBeGreaterThanOrEqual(ids.length - 3)
    expect(new Set(seen.map((s) => s.check.layer))).toEqual(new Set(layers))
    for (const { position, check } of seen) {
      const { layer } = check
      const lens = rowOf(full.lensLogits[layer]!, position, VOCABULARY)
      const f = features(lens)
      expect(check.top).toBe(f.top)
      expect(check.second).toBe(f.second)
      expect(check.topProb).toBeCloseTo(f.topProb, 4)
      expect(check.gap).toBeCloseTo(f.gap, 4)
      expect(check.entropy).toBeCloseTo(f.entropy, 3)
      expect(largestDifference(check.logits, lens)).toBeLessThan(TOLERANCE)
      expect(largestDifference(check.hidden, hiddenAt(layer, position))).toBeLessThan(TOLERANCE)
      expect(largestDifference(check.input, hiddenAt(layer - 1, position)), `input of layer ${layer}`).toBeLessThan(
        TOLERANCE,
      )
      const sum = check.input.map((v, i) => v + check.attention[i]! + check.mlp[i]!)
      expect(largestDifference(sum, check.hidden)).toBeLessThan(TOLERANCE)
    }
  })
})

describe('needs', () => {
  it('are served to several sequences in one batch, each its own', async () => {
    const single: Seen[][] = []
    const prompts = [ids.slice(0, 3), ids.slice(3, 8), ids.slice(8, 9)]
    const options = { maxTokens: 8, ignoreEos: true }
    const needs = { logits: true, hidden: true, sublayers: true }
    for (const prompt of prompts) {
      const seen: Seen[] = []
      single.push(seen)
      await model.generate(prompt, { ...options, depth: watcher(needs, seen) }).result
    }
    const together: Seen[][] = prompts.map(() => [])
    await Promise.all(
      prompts.map((p, i) => model.generate(p, { ...options, depth: watcher(needs, together[i]!) }).result),
    )
    for (const [i, list] of together.entries()) {
      expect(list.map((s) => [s.position, s.check.layer])).toEqual(single[i]!.map((s) => [s.position, s.check.layer]))
      for (const [j, { check }] of list.entries()) {
        const other = single[i]![j]!.check
        for (const key of ['logits', 'hidden', 'input', 'attention', 'mlp'] as const) {
          expect(largestDifference(check[key], other[key]), key).toBeLessThan(TOLERANCE)
        }
      }
    }
  })

  it.each([
    ['logits', 'logits'],
    ['entropy', 'logits'],
    ['hidden', 'hidden'],
    ['input', 'hidden'],
    ['attention', 'sublayers'],
    ['mlp', 'sublayers'],
  ] as const)('that are not declared make check.%s an error that says what to declare', async (field, need) => {
    const depth: ExitPolicy = { kind: 'exit', spec: 'x', checkLayers: () => [1], exits: (check) => check[field] === 0 }
    await expect(model.score(ids, { promptLength: 3, depth })).rejects.toThrow(
      `check.${field} needs the policy to declare needs: { ${need}: true }`,
    )
  })

  it('carry state per sequence and per token', async () => {
    const log: string[] = []
    const depth: ExitPolicy<{ id: number; tokens: number }, { id: number; checks: number }> = {
      kind: 'exit',
      spec: 'counting',
      checkLayers: () => [0, 1, 2],
      startSequence: (info) => {
        log.push(`sequence of ${info.layers} layers, ${info.promptTokens} + ${info.maxTokens} tokens`)
        return { id: info.promptTokens, tokens: 0 }
      },
      startToken: ({ position, generated }, sequence) => {
        log.push(`${sequence.id}: token ${position}, ${generated} before`)
        return { id: sequence.tokens++, checks: 0 }
      },
      exits: (check, token, sequence) => {
        expect(token.checks++).toBe(check.layer)
        expect(token.id).toBe(sequence.tokens - 1)
        return token.checks === 2
      },
    }
    const [a, b] = await Promise.all([
      model.generate(ids.slice(0, 3), { depth, maxTokens: 3, ignoreEos: true }).result,
      model.generate(ids.slice(0, 5), { depth, maxTokens: 2, ignoreEos: true }).result,
    ])
    expect(a.depths).toEqual([2, 2, 2])
    expect(b.depths).toEqual([2, 2])
    expect(log.toSorted()).toEqual(
      [
        'sequence of 4 layers, 3 + 3 tokens',
        'sequence of 4 layers, 5 + 2 tokens',
        '3: token 2, 0 before',
        '3: token 3, 1 before',
        '3: token 4, 2 before',
        '5: token 4, 0 before',
        '5: token 5, 1 before',
      ].toSorted(),
    )
  })
})

describe('policies that ask for the impossible', () => {
  const run = (depth: Parameters<Model['score']>[1]['depth']) => model.score(ids, { promptLength: 3, depth: depth! })

  it('are refused', async () => {
    const exit = (change: Partial<ExitPolicy>): ExitPolicy => ({
      kind: 'exit',
      spec: 'x',
      checkLayers: () => [],
      exits: () => false,
      ...change,
    })
    await expect(run(exit({ checkLayers: () => [3] }))).rejects.toThrow(
      /depth "x" checks layers \[3\], and checks are 0 to 2/,
    )
    await expect(run(exit({ checkLayers: () => [0.5] }))).rejects.toThrow(/checks are 0 to 2/)
    await expect(run(exit({ lastLayer: () => 4 }))).rejects.toThrow(
      /depth "x" stops after layer 4, and the layers are 0 to 3/,
    )
    const skip = (plan: (generated: number) => number[]) =>
      ({ kind: 'skip', spec: 'y', prompt: 'full', plan: (t: { generated: number }) => plan(t.generated) }) as const
    await expect(run(skip(() => []))).rejects.toThrow(/depth "y": the list of layers is empty/)
    await expect(run(skip(() => [0, 4]))).rejects.toThrow(/layer 4 does not exist/)
    await expect(run(skip((n) => (n < 3 ? [0, 3] : [0, 1, 3])))).rejects.toThrow(
      /depth "y" adds layer 1 at position 5: within a sequence a plan may only shrink/,
    )
  })

  it('may shrink a plan', async () => {
    const depth = {
      kind: 'skip',
      spec: 'y',
      prompt: 'full',
      plan: (t: { generated: number }) => (t.generated < 5 ? [0, 1, 3] : [0, 3]),
    } as const
    const score = await run(depth)
    expect(Array.from(score.depth.subarray(0, 6))).toEqual([3, 3, 3, 3, 2, 2])
  })
})
