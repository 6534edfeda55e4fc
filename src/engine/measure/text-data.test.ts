import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { useWorkspace } from '../../../test/workspace.js'
import type { Model } from '../api.js'
import { readTextData, type TextData, type TextDataOptions } from './text-data.js'

const workspace = useWorkspace()
let model: Model
beforeAll(async () => {
  model = await workspace.load('ripple-8m')
})

function read(name: string, contents: string, options: Partial<TextDataOptions> = {}): Promise<TextData> {
  const path = join(workspace.folder, name)
  writeFileSync(path, contents)
  const { tokenizer } = model
  return readTextData(path, { tokenizer, vocabulary: 4096, window: 16, promptShare: 0.25, ...options })
}

const lines = (...values: object[]): string => values.map((value) => `${JSON.stringify(value)}\n`).join('')

describe('texts of a file', () => {
  it('are windows of plain text, each with what the tokenizer begins with', async () => {
    const text = 'The old man and the sea. '.repeat(8)
    const { texts, sha256, cut } = await read('text.txt', text)
    expect(sha256).toMatch(/^[0-9a-f]{64}$/)
    expect(cut).toBe(false)
    const ids = model.tokenizer!.encode(text)
    const bare = model.tokenizer!.encode(text, { addSpecialTokens: false })
    const lead = ids.length - bare.length
    expect(texts.flatMap((t) => t.ids.slice(lead))).toEqual(
      bare.slice(
        0,
        texts.reduce((sum, t) => sum + t.ids.length - lead, 0),
      ),
    )
    for (const t of texts.slice(0, -1)) expect(t).toMatchObject({ promptLength: 4, ids: { length: 16 } })
    expect(texts.every((t) => t.ids.slice(0, lead).every((id, i) => id === ids[i]))).toBe(true)
  })

  it('are prompt and answer of a line, tokens as they are, and prompts alone', async () => {
    const { texts } = await read(
      'lines.jsonl',
      `${lines({ input: 'Q: cat\nA:', output: ' animal' }, { tokens: [5, 6, 7, 8] })}\n${lines({ prompt: 'Once' }, { text: 'Once upon a time' })}`,
    )
    const { tokenizer } = model
    const prompt = tokenizer!.encode('Q: cat\nA:')
    expect(texts[0]).toEqual({ ids: tokenizer!.encode('Q: cat\nA: animal'), promptLength: prompt.length })
    expect(texts[1]).toEqual({ ids: [5, 6, 7, 8], promptLength: 1 })
    expect(texts[2]?.promptLength).toBe(texts[2]?.ids.length)
    expect(texts[3]?.ids).toEqual(tokenizer!.encode('Once upon a time'))
  })

  it('say which line is wrong', async () => {
    await expect(read('a.jsonl', '{"text":\n')).rejects.toThrow(/a\.jsonl: the text of line 1 is not valid JSON/)
    await expect(read('f.jsonl', '['.repeat(300))).rejects.toThrow(/f\.jsonl: the text of line 1 is nested more than/)
    await expect(read('b.jsonl', `${lines({ text: 'as it is' })}[]\n`)).rejects.toThrow(/line 2 is not an object/)
    await expect(read('c.jsonl', lines({ input: 'x' }))).rejects.toThrow(/line 1 must have "input" and "output"/)
    await expect(read('d.jsonl', lines({ tokens: [1, 4096] }))).rejects.toThrow(/ids from 0 to 4095/)
    await expect(read('e.jsonl', lines({ input: 'x', output: '' }))).rejects.toThrow(/nothing is left to predict/)
    await expect(read('f.txt', '')).rejects.toThrow(/holds no text/)
    await expect(read('g.txt', 'words', { tokenizer: null })).rejects.toThrow(/no tokenizer: give a \.jsonl/)
    expect((await read('h.jsonl', lines({ tokens: [1, 2] }), { tokenizer: null })).texts).toHaveLength(1)
    await expect(readTextData(join(workspace.folder, 'none.txt'), {} as TextDataOptions)).rejects.toMatchObject({
      code: 'file_missing',
    })
  })
})
