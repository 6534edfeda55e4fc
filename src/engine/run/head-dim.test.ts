import { beforeAll, describe, expect, it } from 'vitest'
import { largestDifference, rowOf } from '../../../test/compare.js'
import type { LlamaShape, RandomCheckpoint } from '../../../test/random-checkpoint.js'
import { type ReferenceRun, referenceRun } from '../../../test/reference-llama.js'
import { useWorkspace } from '../../../test/workspace.js'
import type { Model } from '../api.js'

// Every width of a head works, against a float64 reference that shares no code with the engine.

const workspace = useWorkspace()
const SHAPES: readonly LlamaShape[] = [
  { headDim: 8, heads: 4, kvHeads: 2 },
  { headDim: 20, heads: 3, kvHeads: 1, attentionBias: true },
  { headDim: 24, heads: 2, kvHeads: 2, tied: true, ropeFactor: 4 },
  { headDim: 32, heads: 2, kvHeads: 1, mlpBias: true, ropeTheta: 500000 },
  { headDim: 100, heads: 2, kvHeads: 1, hidden: 40 },
  { headDim: 128, heads: 1, kvHeads: 1 },
]

describe.each(SHAPES)('head_dim $headDim', (shape) => {
  let checkpoint: RandomCheckpoint
  let ids: number[]
  let reference: ReferenceRun

  beforeAll(async () => {
    checkpoint = await workspace.random(shape.headDim!, { layers: 3, vocabulary: 56, ...shape })
    ids = Array.from({ length: 30 }, (_, i) => (i * i * 3 + 11 * i + 2) % 56)
    reference = referenceRun(checkpoint, ids)
  })

  // An f16 cache rounds keys and values to 11 bits, a q8_0 one to 8 of the largest in 32.
  describe.each([
    ['f32', 1e-4],
    ['f16', 3e-2],
    ...(shape.headDim! % 32 === 0 ? [['q8_0', 0.3] as const] : []),
  ] as const)('with an %s cache', (kvType, tolerance) => {
    let model: Model
    beforeAll(async () => {
      model = await workspace.load(checkpoint.folder, { kvType })
    })

    it('gives the reference hidden states and lens logits', async () => {
      const trace = await model.trace(ids)
      for (let l = 0; l < 3; l++) {
        expect(largestDifference(trace.hidden[l]!, reference.hidden[l]!)).toBeLessThan(tolerance)
        expect(largestDifference(trace.lensLogits[l]!, reference.lensLogits[l]!)).toBeLessThan(tolerance)
      }
    })

    it('decodes through the staircase', async () => {
      for (const depth of ['full', 'exit:1', 'gap:0.3']) {
        const score = await model.score(ids, { promptLength: 7, depth })
        score.depth.forEach((d, i) => {
          const row = rowOf(reference.lensLogits[d - 1]!, 7 + i, 56)
          expect(largestDifference(rowOf(score.logits, i, 56), row), `${depth} at ${7 + i}`).toBeLessThan(tolerance)
        })
      }
    })

    it('skips layers as a plan says', async () => {
      const skipped = referenceRun(checkpoint, ids, (position, layer) => position < 7 || layer !== 1)
      const score = await model.score(ids, { promptLength: 7, depth: 'layers:0,2' })
      expect(largestDifference(score.logits, skipped.lensLogits[2]!.subarray(7 * 56))).toBeLessThan(tolerance)
    })
  })
})
