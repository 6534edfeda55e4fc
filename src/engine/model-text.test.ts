import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openPackage } from '../convert/package.js'
import { openModelText } from './model-text.js'

let folder: string
let source: string
let cacheDir: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-text-'))
  source = join(folder, 'model')
  cacheDir = join(folder, 'cache')
  await cp('pretrained/ripple-8m', source, { recursive: true })
})
afterEach(() => rm(folder, { recursive: true }))

describe('the text of a checkpoint', () => {
  it('makes no model where the tokenizer is damaged, and names its file', async () => {
    const path = join(source, 'tokenizer.json')
    await writeFile(path, '{"added_tokens":[]}')
    await expect(openPackage(source, { cacheDir })).rejects.toThrow(`${path}: has no model`)
    expect(await readdir(join(cacheDir, 'models'))).toEqual([])
  })

  it('is a warning where the tokenizer is not supported, and an error where it is asked for', async () => {
    const path = join(source, 'tokenizer.json')
    const json = JSON.parse(await readFile(path, 'utf8')) as object
    await writeFile(path, JSON.stringify({ ...json, normalizer: { type: 'Else' } }))
    const reason = 'normalizer: type Else is not supported'
    const made = await openPackage(source, { cacheDir })
    expect(made.warnings).toContain(`tokenizer.json: ${reason}: the model works with token ids only`)
    const text = await openModelText(made)
    expect(() => text.requireTokenizer()).toThrow(`${path}: ${reason}`)
  })

  it('is a warning where the chat template is not valid, and an error of its file where it is asked for', async () => {
    const path = join(source, 'chat_template.jinja')
    await writeFile(path, 'a\n{% if %}')
    const made = await openPackage(source, { cacheDir })
    expect(made.warnings).toEqual([
      expect.stringMatching(/^chat_template\.jinja: chat template line 2: .*: the model continues texts/),
    ])
    const text = await openModelText(made)
    expect(text.requireTokenizer().size).toBeGreaterThan(0)
    expect(() => text.requireConversation()).toThrow(`${path}: chat template line 2`)
  })
})
