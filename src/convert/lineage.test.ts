import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { GgufMetadata } from '../checkpoint/gguf-metadata.js'
import { createGgufWriter } from '../checkpoint/gguf-write.js'
import { FileError } from '../errors.js'
import { baseModels } from './lineage.js'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-lineage-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

it('reads the cards of bundled models', async () => {
  expect(await baseModels()).toEqual([])
  expect(await baseModels('ripple-8m')).toEqual([])
  expect(await baseModels('ripple-8m-flex')).toEqual(['ripple-8m'])
})

it('reads a folder, with a card or without', async () => {
  const path = join(folder, 'model')
  mkdirSync(path)
  expect(await baseModels(path)).toEqual([])
  writeFileSync(join(path, 'README.md'), '---\nbase_model: owner/base\n---\n')
  expect(await baseModels(path)).toEqual(['owner/base'])
})

it('reads the keys of a GGUF file', async () => {
  const path = join(folder, 'model.gguf')
  const named = (i: number, value: string) => [`general.base_model.${i}.name`, { type: 'string', value }] as const
  const writer = await createGgufWriter(path, new GgufMetadata('', [named(0, 'One'), named(1, 'Two')]), [])
  await writer.finish()
  expect(await baseModels(path)).toEqual(['One', 'Two'])
})

it('tells of a model that is not there', async () => {
  await expect(baseModels(join(folder, 'none'))).rejects.toThrow(FileError)
})
