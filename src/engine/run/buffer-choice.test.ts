import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Backend } from '../../ggml/backend.js'
import { supportsProduct, type WeightUse } from '../../ggml/weights.js'
import { chooseBuffers } from './buffer-choice.js'
import { MachineMemory } from './machine-memory.js'

const backend = new Backend({ threads: 1 })
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-buffers-'))
})
afterAll(async () => {
  await backend.dispose()
  await rm(folder, { recursive: true })
})

const SHAPE = [256, 64] as const
const use = (name: string, change: Partial<WeightUse> = {}): WeightUse => ({
  tensor: { name, shape: SHAPE, type: 'q4_0', part: 0, offset: 0, bytes: 64 * 144 },
  lookup: false,
  product: true,
  ...change,
})
const uses = [use('a'), use('b'), use('table', { product: false, lookup: true })]
const extras = [...backend.extraBufferTypes().keys()].filter((name) => supportsProduct(backend, name, 'q4_0', SHAPE))

describe.runIf(extras.length > 0)('the choice of buffers', () => {
  it('is made once and remembered', async () => {
    const path = join(folder, 'machine.json')
    const choose = await chooseBuffers(backend, uses, await MachineMemory.open(folder))
    const chosen = choose(uses[0]!.tensor)
    expect([null, ...extras]).toContain(chosen)
    expect(choose(uses[1]!.tensor)).toBe(chosen)
    const memory = JSON.parse(await readFile(path, 'utf8')) as Record<string, string>
    const [key] = Object.keys(memory)
    expect(Object.keys(memory)).toHaveLength(1)
    expect(key).toMatch(/ggml 0\.23\.0 \| 1 threads \| q4_0 256x64$/)
    // What is remembered holds, whatever a new measurement would say.
    for (const value of ['plain', extras[0]!]) {
      await writeFile(path, JSON.stringify({ [key!]: value, other: 'kept' }))
      expect((await chooseBuffers(backend, uses, await MachineMemory.open(folder)))(uses[0]!.tensor)).toBe(
        value === 'plain' ? null : value,
      )
    }
  })

  it('stops where loading is stopped, and nothing is remembered', async () => {
    const empty = await mkdtemp(join(folder, 'stopped-'))
    const stopped = chooseBuffers(backend, uses, await MachineMemory.open(empty), AbortSignal.abort('why'))
    await expect(stopped).rejects.toMatchObject({ code: 'aborted', cause: 'why' })
    expect((await MachineMemory.open(empty)).get('other')).toBeUndefined()
  })

  it('is made anew where the memory is damaged or names what this processor lacks', async () => {
    const path = join(folder, 'machine.json')
    await chooseBuffers(backend, uses, await MachineMemory.open(folder))
    const [key] = Object.keys(JSON.parse(await readFile(path, 'utf8')) as object)
    for (const content of ['{', '[]', '7', JSON.stringify({ [key!]: 'TPU' }), JSON.stringify({ [key!]: 3 })]) {
      await writeFile(path, content)
      expect([null, ...extras]).toContain(
        (await chooseBuffers(backend, uses, await MachineMemory.open(folder)))(uses[0]!.tensor),
      )
    }
  })

  it('needs no cache that can be written', async () => {
    const file = join(folder, 'a-file')
    await writeFile(file, '')
    expect([null, ...extras]).toContain(
      (await chooseBuffers(backend, uses, await MachineMemory.open(join(file, 'below'))))(uses[0]!.tensor),
    )
  })
})

describe('matrices that no extra buffer takes', () => {
  it('stay in plain memory without a measurement', async () => {
    const f32 = use('a', { tensor: { ...uses[0]!.tensor, type: 'f32', shape: [7, 3] } })
    expect(
      (await chooseBuffers(backend, [f32], await MachineMemory.open(join(folder, 'never-made'))))(f32.tensor),
    ).toBeNull()
    await expect(readFile(join(folder, 'never-made', 'machine.json'))).rejects.toThrow(/ENOENT/)
  })
})
