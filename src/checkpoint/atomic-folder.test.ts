import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { temporaryPath } from './atomic-file.js'
import { createAtomicFolder } from './atomic-folder.js'

const REPLACE = { marker: 'config.json' }

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-folder-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

it('has its name only when it is complete', async () => {
  const made = await createAtomicFolder(join(folder, 'out'), null)
  writeFileSync(join(made.temporary, 'file'), '')
  expect(existsSync(join(folder, 'out'))).toBe(false)
  await made.commit()
  await made.abort()
  expect(readdirSync(folder)).toEqual(['out'])
  expect(readdirSync(join(folder, 'out'))).toEqual(['file'])
})

it('is nothing after an abort', async () => {
  const made = await createAtomicFolder(join(folder, 'out'), null)
  writeFileSync(join(made.temporary, 'file'), '')
  await made.abort()
  expect(readdirSync(folder)).toEqual([])
})

it('takes the place of an empty folder and of one with the marker, whole', async () => {
  for (const before of [[], ['config.json', 'old']]) {
    mkdirSync(join(folder, 'out'), { recursive: true })
    for (const file of before) writeFileSync(join(folder, 'out', file), '')
    const made = await createAtomicFolder(`${join(folder, 'out')}/`, REPLACE)
    writeFileSync(join(made.temporary, 'config.json'), 'new')
    expect(readdirSync(join(folder, 'out'))).toEqual(before)
    await made.commit()
    expect(readdirSync(join(folder, 'out'))).toEqual(['config.json'])
    expect(readdirSync(folder)).toEqual(['out'])
  }
})

it('refuses what stands there', async () => {
  mkdirSync(join(folder, 'out'))
  writeFileSync(join(folder, 'out', 'letter'), '')
  writeFileSync(join(folder, 'file'), '')
  await expect(createAtomicFolder(join(folder, 'out'), null)).rejects.toThrow(/exists already/)
  await expect(createAtomicFolder(join(folder, 'out'), REPLACE)).rejects.toThrow(/without config\.json/)
  await expect(createAtomicFolder(join(folder, 'file'), REPLACE)).rejects.toThrow(/is a file/)
  await expect(createAtomicFolder(join(folder, 'no', 'out'), null)).rejects.toMatchObject({ code: 'file_missing' })
  expect(readdirSync(folder).sort()).toEqual(['file', 'out'])
})

it('clears away what a killed process left', async () => {
  // No process has this id.
  const left = temporaryPath(join(folder, 'out')).replace(`-${process.pid}-`, '-4194305-')
  const running = temporaryPath(join(folder, 'out'))
  for (const path of [left, running]) {
    mkdirSync(path)
    writeFileSync(join(path, 'file'), '')
  }
  const made = await createAtomicFolder(join(folder, 'out'), null)
  await made.commit()
  expect(existsSync(left)).toBe(false)
  expect(existsSync(running)).toBe(true)
})
