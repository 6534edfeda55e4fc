import { readFileSync } from 'node:fs'
import { beforeAll, describe, expect, it } from 'vitest'
import { useWorkspace } from '../../test/workspace.js'
import type { Model } from './api.js'

const workspace = useWorkspace()

interface Case {
  readonly input_ids: number[]
  readonly num_beams: number
  readonly no_repeat_ngram_size: number
  readonly max_new_tokens: number
  readonly sequences: number[][]
  readonly scores: number[]
}
const cases = JSON.parse(
  readFileSync(new URL('../../test/fixtures/beam/beam.json', import.meta.url), 'utf8'),
) as Case[]

describe('transformers', () => {
  let ripple: Model
  beforeAll(async () => {
    ripple = await workspace.load('pretrained/ripple-8m')
  })

  it.each(cases.map((c, i) => [i, c] as const))('finds the same beams with the same scores: case %i', async (_, c) => {
    const result = await ripple.beamSearch(c.input_ids, {
      beams: c.num_beams,
      noRepeatNgram: c.no_repeat_ngram_size,
      maxTokens: c.max_new_tokens,
      depth: 'full',
    })
    expect(result.beams.map((b) => b.tokens)).toEqual(c.sequences)
    result.beams.forEach((beam, i) => {
      expect(beam.score).toBeCloseTo(c.scores[i]!, 5)
    })
  })
})
