import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { largestDifference } from '../../../../test/compare.js'
import { randomBridge } from '../../../../test/random-bridge.js'
import { useWorkspace } from '../../../../test/workspace.js'
import { writeBridgeFile } from '../../../convert/bridge-file.js'
import { type Bridge, type BridgeInput, planGaps } from '../../../depth/bridge.js'
import type { Plan } from '../../../depth/plan.js'
import type { SkipPolicy } from '../../../depth/policy.js'
import type { Model } from '../../api.js'
import type { ForcedText, TextRows } from '../../known-text.js'
import { BridgeWeights } from './bridge-weights.js'

const LAYERS = 7
const HIDDEN = 32
const SHAPE = { layers: LAYERS, kvHeads: 2, hidden: HIDDEN, vocabulary: 64 }
const PLAN: Plan = [1, 2, 5]
const TEXT: ForcedText = { ids: Array.from({ length: 20 }, (_, i) => (i * i + 3 * i + 5) % 64), promptLength: 4 }

const workspace = useWorkspace()
let model: Model
beforeAll(async () => {
  model = await workspace.loadRandom(11, SHAPE, { kvType: 'f32' })
})

function bridgesFor(plan: Plan, seed: number, on: BridgeInput = 'hidden', rank?: number): Bridge[] {
  return planGaps(plan, LAYERS).map((gap, i) =>
    randomBridge(gap, {
      hidden: HIDDEN,
      seed: seed + i,
      on: gap.from < 0 ? 'hidden' : on,
      ...(rank === undefined ? {} : { rank }),
    }),
  )
}

function policyOf(plan: Plan, bridges: readonly Bridge[], prompt: 'full' | 'plan' = 'full'): SkipPolicy {
  const source = createHash('sha256').update(JSON.stringify(bridges)).digest('hex')
  return {
    kind: 'skip',
    spec: `bridged ${plan.join()} ${source}`,
    source,
    prompt,
    everyToken: plan,
    plan: () => plan,
    bridges,
  }
}

/** hidden + W x + b in plain numbers. */
function applied({ factors, bias }: Bridge, hidden: Float32Array, x: Float32Array): Float32Array {
  const mapped = factors.reduce((row, { rows, columns, data }) => {
    const values = new Float32Array(data.buffer)
    return Float32Array.from({ length: rows }, (_, r) =>
      row.reduce((sum, value, c) => sum + value * (values[r * columns + c] as number), 0),
    )
  }, x)
  return hidden.map((value, i) => value + (mapped[i] as number) + (bias[i] as number))
}

describe.each(['hidden', 'mlp'] as const)('bridges on the %s', (on) => {
  it.each([undefined, 4])('add W x + b over each gap (rank %s)', async (rank) => {
    const bridges = bridgesFor(PLAN, 3, on, rank)
    const losses = model.planLosses([TEXT])
    // By hand: without bridges in the engine, each applied to the rows between two layers.
    let last: Float32Array[] = []
    await losses.rise({ layers: PLAN, mlpAfter: on === 'mlp' ? [1, 2, 5] : [] }, (rows: TextRows) => {
      const bridge = bridges.find(({ from }) => from === rows.layer)
      for (let i = 0; bridge !== undefined && i < rows.count; i++) {
        const hidden = rows.hidden(i)
        rows.write(i, applied(bridge, hidden, bridge.on === 'mlp' ? rows.mlp(i) : hidden))
      }
      last = Array.from({ length: rows.count }, (_, i) => rows.hidden(i))
    })
    const head = model.planLosses([TEXT])
    const ofEngine = (await head.of(PLAN, { bridges }))[0] as number
    const scored = await model.score(TEXT.ids, { promptLength: TEXT.promptLength, depth: policyOf(PLAN, bridges) })
    const traced = await model.score(TEXT.ids, { promptLength: TEXT.promptLength, depth: policyOf(PLAN, []) })
    expect(ofEngine).toBeCloseTo(scored.loss * (TEXT.ids.length - TEXT.promptLength), 4)
    expect(Math.abs(scored.loss - traced.loss)).toBeGreaterThan(1e-3)
    await losses.dispose()
    await head.dispose()
    const rows = await endRows(bridges)
    expect(last.length).toBe(rows.length)
    for (const [i, row] of rows.entries()) expect(largestDifference(row, last[i] as Float32Array)).toBeLessThan(1e-4)
  })

  it('give a batch of different plans and bridges what each gets alone', async () => {
    const depths = [
      policyOf(PLAN, bridgesFor(PLAN, 3, on)),
      policyOf(PLAN, bridgesFor(PLAN, 4, on)),
      policyOf(PLAN, []),
      policyOf([0, 1, 5, 6], bridgesFor([0, 1, 5, 6], 5, on)),
      policyOf([0, 1, 2, 3], bridgesFor([0, 1, 2, 3], 6, on), 'plan'),
      'full',
      'exit:3',
    ]
    const options = { maxTokens: 12, ignoreEos: true }
    const prompt = (i: number): number[] => TEXT.ids.slice(i, i + 5)
    const together = await Promise.all(
      depths.map((depth, i) => model.generate(prompt(i), { ...options, depth }).result),
    )
    for (const [i, depth] of depths.entries()) {
      const alone = await model.generate(prompt(i), { ...options, depth }).result
      expect(together[i]?.tokens, `depth ${i}`).toEqual(alone.tokens)
    }
  })

  it('draft without a trace in the result', async () => {
    const depth = policyOf(PLAN, bridgesFor(PLAN, 3, on))
    const prompt = TEXT.ids.slice(0, 6)
    const full = await model.generate(prompt, { maxTokens: 24, ignoreEos: true }).result
    const drafted = await model.generate(prompt, { maxTokens: 24, ignoreEos: true, depth, lossless: { drafts: 3 } })
      .result
    expect(drafted.tokens).toEqual(full.tokens)
  })
})

/** Rows after the last layer of the plan and its bridge, as the engine computes them for one plan. */
async function endRows(bridges: readonly Bridge[]): Promise<Float32Array[]> {
  const losses = model.planLosses([TEXT])
  const rows: Float32Array[] = []
  try {
    await losses.rise({ layers: PLAN, bridges }, (now) => {
      if (now.layer === PLAN.at(-1)) for (let i = 0; i < now.count; i++) rows.push(now.hidden(i))
    })
    return rows
  } finally {
    await losses.dispose()
  }
}

describe('bridges', () => {
  it('that are not needed any more make room, also where only losses are asked for', async () => {
    const trim = vi.spyOn(BridgeWeights.prototype, 'trim')
    const losses = model.planLosses([TEXT], { prompt: 'plan' })
    await losses.of(PLAN, { bridges: bridgesFor(PLAN, 3) })
    const before = trim.mock.calls.length
    await losses.of(PLAN, { bridges: bridgesFor(PLAN, 4) })
    expect(trim.mock.calls.length).toBeGreaterThan(before)
    trim.mockRestore()
    await losses.dispose()
  })

  it('leave losses as they are where a text goes on from rows between two layers', async () => {
    const bridges = bridgesFor(PLAN, 3)
    const texts = [TEXT, { ids: TEXT.ids.slice(3), promptLength: 2 }, { ids: TEXT.ids.slice(1), promptLength: 5 }]
    const losses = model.planLosses(texts)
    const rows: Float32Array[] = []
    await losses.rise({ layers: PLAN, bridges, from: 1 }, (now) => {
      if (now.layer === 2) for (let i = 0; i < now.count; i++) rows.push(now.hidden(i))
    })
    const whole = await losses.of(PLAN, { bridges, from: 1 })
    const start = { layer: 5, row: (i: number) => rows[i] as Float32Array }
    const upper = await losses.of(PLAN, { bridges, from: 1, start })
    await losses.dispose()
    for (const [i, loss] of whole.entries()) expect(upper[i]).toBeCloseTo(loss, 4)
  })

  it('that do not fit end their own generation and no other', async () => {
    const narrow = bridgesFor(PLAN, 3).map((bridge) => ({ ...bridge, bias: bridge.bias.slice(1) }))
    const bad = model.generate([1, 2, 3], { depth: policyOf(PLAN, narrow), maxTokens: 4 }).result
    const good = model.generate([1, 2, 3], {
      depth: policyOf(PLAN, bridgesFor(PLAN, 3)),
      maxTokens: 4,
      ignoreEos: true,
    })
    await expect(bad).rejects.toMatchObject({
      code: 'input_invalid',
      message: expect.stringContaining('32 dimensions'),
    })
    expect((await good.result).tokens).toHaveLength(4)
    const elsewhere = bridgesFor(PLAN, 3).map((bridge) => ({ ...bridge, to: bridge.to - 1 }))
    await expect(model.planLosses([TEXT]).of(PLAN, { bridges: elsewhere })).rejects.toThrow(/does not stand over a gap/)
  })

  it('tell texts in the prefix cache apart: what ran through others, or none, is not taken', async () => {
    const caching = await workspace.loadRandom(11, SHAPE, { kvType: 'f32', prefixCache: 8 })
    const beginning = Array.from({ length: 24 }, (_, i) => (i * 7 + 3) % 64)
    const depths = [
      `layers:${PLAN.join()},prompt=plan`,
      ...[3, 9].map((seed) => policyOf(PLAN, bridgesFor(PLAN, seed), 'plan')),
    ]
    for (const round of [0, 1]) {
      for (const [i, depth] of depths.entries()) {
        const prompt = [...beginning, 5 + round, 9 + i]
        const options = { depth, maxTokens: 6, ignoreEos: true }
        const { tokens, reusedTokens } = await caching.generate(prompt, options).result
        expect(tokens).toEqual((await model.generate(prompt, options).result).tokens)
        expect(reusedTokens).toBe(round === 0 ? 0 : 24)
      }
    }
  })

  it('of a file run under plan: and unified:, and are told from a model', async () => {
    const plan = [0, 2, 4, 6]
    const path = join(workspace.folder, 'a.bridge.gguf')
    const bridges = bridgesFor(plan, 9)
    await writeBridgeFile(path, {
      plan,
      layers: LAYERS,
      hidden: HIDDEN,
      bridges,
      model: { name: 'random', fingerprint: model.fingerprint, quantization: 'f32' },
      texts: 'none',
      figures: { full: 1 },
    })
    const policy = (await model.policy(`plan:${path}`)) as SkipPolicy
    expect(policy).toMatchObject({ everyToken: plan, notes: [], spec: `plan:${path}` })
    expect(policy.bridges).toEqual(bridges)
    const options = { maxTokens: 8, ignoreEos: true }
    const direct = await model.generate([1, 2, 3], { ...options, depth: policyOf(plan, bridges) }).result
    for (const depth of [`plan:${path}`, `unified:1.75x,by=layers,bridge=${path}`]) {
      expect((await model.generate([1, 2, 3], { ...options, depth }).result).tokens).toEqual(direct.tokens)
    }
    await expect(model.policy(`unified:3x,by=layers,bridge=${path}`)).rejects.toThrow(
      /holds bridges for layers 0,2,4,6, and these are layers 0,6/,
    )
    await expect(workspace.load(path)).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('holds bridges over layers that are left out, not a model'),
    })
  })
})
