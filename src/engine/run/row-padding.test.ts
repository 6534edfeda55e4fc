import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Backend } from '../../ggml/backend.js'
import { supportsProduct, type WeightUse } from '../../ggml/weights.js'
import { MachineMemory } from './machine-memory.js'
import { choosePadding } from './row-padding.js'

const backend = new Backend({ threads: 1 })
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-padding-'))
})
afterAll(async () => {
  await backend.dispose()
  await rm(folder, { recursive: true })
})

const extras = [...backend.extraBufferTypes().keys()].filter((name) =>
  supportsProduct(backend, name, 'q4_0', [256, 64]),
)
const SHAPE = [256, 64] as const
const use = (type: 'q4_0' | 'f32'): WeightUse => ({
  tensor: { name: 'a', shape: SHAPE, type, part: 0, offset: 0, bytes: 64 * 144 },
  lookup: false,
  product: true,
})
const rows = Array.from({ length: 18 }, (_, i) => i + 1)

describe('rows that are filled up', () => {
  it('are none where matrices are not quantised, and nothing is measured', async () => {
    const memory = await MachineMemory.open(join(folder, 'never-made'))
    const padding = await choosePadding(backend, [use('f32')], () => null, memory)
    expect(rows.map(padding)).toEqual(rows)
    await expect(readFile(join(folder, 'never-made', 'machine.json'))).rejects.toThrow(/ENOENT/)
  })

  it.each([null, ...extras])(
    'are measured once, remembered, and measured anew where the memory is damaged: %s',
    async (buffer) => {
      const choose = async () => choosePadding(backend, [use('q4_0')], () => buffer, await MachineMemory.open(folder))
      const path = join(folder, 'machine.json')
      await rm(path, { force: true })
      const measured = rows.map(await choose())
      expect(measured.every((to, i) => to > i)).toBe(true)
      const [key, value] = Object.entries(JSON.parse(await readFile(path, 'utf8')) as Record<string, string>)[0]!
      expect(key).toMatch(/1 threads \| q4_0 256x64 in .*, 1 MiB in turn \| rows filled up$/)
      expect(value).toBe(measured.slice(0, 16).join(' '))
      await writeFile(path, JSON.stringify({ [key]: '1 4 4 4 5 8 8 8 9 10 11 12 13 14 16 16' }))
      expect(rows.map(await choose())).toEqual([1, 4, 4, 4, 5, 8, 8, 8, 9, 10, 11, 12, 13, 14, 16, 16, 17, 18])
      for (const damaged of ['from 2', '1 2', '1 1 3 4 5 6 7 8 9 10 11 12 13 14 15 16', 7]) {
        await writeFile(path, JSON.stringify({ [key]: damaged }))
        expect((await choose())(4)).toBeGreaterThanOrEqual(4)
        expect((JSON.parse(await readFile(path, 'utf8')) as Record<string, string>)[key]).not.toBe(damaged)
      }
    },
  )
})
