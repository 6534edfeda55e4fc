import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { useWorkspace } from '../../test/workspace.js'
import type { Model } from '../engine/api.js'
import { searchTexts } from './search-texts.js'

const workspace = useWorkspace()
const OPTIONS = { window: 16, promptShare: 0.25, samples: 4, heldOut: 6, seed: 0 }
let model: Model
beforeAll(async () => {
  model = await workspace.load('ripple-8m')
})

function write(name: string, lines: readonly object[]): string {
  const path = join(workspace.folder, name)
  writeFileSync(path, lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
  return path
}

describe('texts of a search', () => {
  it('are drawn with a seed and split, and no text is on both sides', async () => {
    const path = write(
      'tokens.jsonl',
      Array.from({ length: 30 }, (_, t) => ({ tokens: [t, t + 1, t + 2] })),
    )
    const { search, heldOut } = await searchTexts(model, [path], OPTIONS)
    expect([search.length, heldOut.length]).toEqual([4, 6])
    const first = [...search, ...heldOut].map(({ ids }) => ids[0])
    expect(new Set(first).size).toBe(10)
    const again = await searchTexts(model, [path], OPTIONS)
    expect([...again.search, ...again.heldOut].map(({ ids }) => ids[0])).toEqual(first)
    const other = await searchTexts(model, [path], { ...OPTIONS, seed: 1 })
    expect([...other.search, ...other.heldOut].map(({ ids }) => ids[0])).not.toEqual(first)
    const many = await searchTexts(model, [path], { ...OPTIONS, samples: 24, heldOut: 4 })
    expect([many.search.length, many.heldOut.length]).toEqual([24, 4])
    const few = write('few.jsonl', [{ tokens: [1, 2] }, { tokens: [3, 4] }, { tokens: [5, 6] }])
    const small = await searchTexts(model, [few], OPTIONS)
    expect([small.search.length, small.heldOut.length]).toEqual([1, 2])
  })

  it('go on as the model does where a line is a prompt alone', async () => {
    const path = write('prompts.jsonl', [{ prompt: 'Once upon a time' }, { prompt: 'The old man' }])
    const { search, heldOut } = await searchTexts(model, [path], OPTIONS)
    for (const { ids, promptLength } of [...search, ...heldOut]) {
      const { tokens } = await model.generate(ids.slice(0, promptLength), { maxTokens: 64, depth: 'full' }).result
      expect(ids.slice(promptLength)).toEqual(tokens)
    }
  })

  it('fit the context', async () => {
    const text = 'word '.repeat(3000)
    const path = write('long.jsonl', [
      { input: text, output: 'yes' },
      { input: 'a', output: 'b' },
    ])
    await expect(searchTexts(model, [path], OPTIONS)).rejects.toThrow(/has a text of \d+ tokens, and the context holds/)
  })
})
