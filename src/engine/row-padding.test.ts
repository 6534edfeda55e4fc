import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Backend } from '../ggml/backend.js'
import { supportsProduct, type WeightUse } from '../ggml/weights.js'
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

const SHAPE = [256, 64] as const
const uses: WeightUse[] = [
  { tensor: { name: 'a', shape: SHAPE, type: 'q4_0', offset: 0, bytes: 64 * 144 }, lookup: false, product: true },
]
const [buffer] = [...backend.extraBufferTypes().keys()].filter((name) => supportsProduct(backend, name, 'q4_0', SHAPE))

describe('rows that are filled up', () => {
  it('are none where matrices lie in plain memory, and nothing is measured', async () => {
    const memory = await MachineMemory.open(join(folder, 'never-made'))
    const padding = await choosePadding(backend, uses, () => null, memory)
    expect([1, 2, 3, 4, 7].map(padding)).toEqual([1, 2, 3, 4, 7])
    await expect(readFile(join(folder, 'never-made', 'machine.json'))).rejects.toThrow(/ENOENT/)
  })

  it.runIf(buffer !== undefined)(
    'are measured once, remembered, and measured anew where the memory is damaged',
    async () => {
      const choose = async () => choosePadding(backend, uses, () => buffer!, await MachineMemory.open(folder))
      const path = join(folder, 'machine.json')
      await choose()
      const [key, value] = Object.entries(JSON.parse(await readFile(path, 'utf8')) as Record<string, string>)[0]!
      expect(key).toMatch(/1 threads \| q4_0 256x64 in .* \| rows filled up$/)
      expect(['from 2', 'from 3', 'never']).toContain(value)
      for (const [remembered, rows] of [
        ['from 2', [1, 4, 4, 4, 5, 8, 8, 66]],
        ['from 3', [1, 2, 4, 4, 5, 6, 8, 66]],
        ['never', [1, 2, 3, 4, 5, 6, 7, 66]],
      ] as const) {
        await writeFile(path, JSON.stringify({ [key]: remembered }))
        expect([1, 2, 3, 4, 5, 6, 7, 66].map(await choose())).toEqual(rows)
      }
      await writeFile(path, JSON.stringify({ [key]: 'from 9' }))
      expect((await choose())(4)).toBe(4)
      expect(['from 2', 'from 3', 'never']).toContain(
        (JSON.parse(await readFile(path, 'utf8')) as Record<string, string>)[key],
      )
    },
  )
})
