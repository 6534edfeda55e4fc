import { mkdtemp, rename, rm, symlink, unlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FileError } from '../errors.js'
import { readGguf } from './gguf.js'
import { GgufMetadata } from './gguf-metadata.js'
import { ggufModelName, withoutSplitKeys } from './gguf-split.js'
import type { GgufValue } from './gguf-value.js'
import { createGgufWriter } from './gguf-write.js'

let folder: string
let count = 0
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-split-'))
})
afterAll(() => rm(folder, { recursive: true }))

interface Part {
  /** Names of tensors. */
  readonly tensors: readonly string[]
  readonly keys?: Readonly<Record<string, number | string | null>>
  readonly name?: string
}

const name = (part: number, of: number): string =>
  `m-${String(part).padStart(5, '0')}-of-${String(of).padStart(5, '0')}.gguf`

/** Writes the parts into a folder of their own; returns the first one's path. */
async function write(parts: readonly Part[]): Promise<string> {
  const inner = await mkdtemp(join(folder, `${count++}-`))
  const total = parts.reduce((sum, { tensors }) => sum + tensors.length, 0)
  for (const [i, part] of parts.entries()) {
    const keys = {
      ...(i === 0 && { 'general.architecture': 'llama' }),
      'split.no': i,
      'split.count': parts.length,
      'split.tensors.count': total,
      ...part.keys,
    }
    const entries = Object.entries(keys).flatMap(([key, value]): [string, GgufValue][] => {
      if (value === null) return []
      return [[key, typeof value === 'string' ? { type: 'string', value } : { type: 'int32', value }]]
    })
    const declared = part.tensors.map((tensor) => ({ name: tensor, shape: [4], type: 'f32' as const }))
    const writer = await createGgufWriter(
      join(inner, part.name ?? name(i + 1, parts.length)),
      new GgufMetadata('', entries),
      declared,
    )
    for (const tensor of part.tensors) await writer.append(tensor, new Uint8Array(16).fill(i + 1))
    await writer.finish()
  }
  return join(inner, parts[0]?.name ?? name(1, parts.length))
}

const THREE: readonly Part[] = [{ tensors: ['a'] }, { tensors: ['b', 'c'] }, { tensors: [] }]
const changed = (index: number, part: Partial<Part>): Part[] =>
  THREE.map((each, i) => (i === index ? { ...each, ...part } : each))

describe('a split file', () => {
  it('is one model with tensors in several files', async () => {
    const path = await write(THREE)
    const file = await readGguf(path)
    expect(file.path).toBe(path)
    expect([...file.tensors.values()].map((t) => [t.name, t.part])).toEqual([
      ['a', 0],
      ['b', 1],
      ['c', 1],
    ])
    expect(file.parts.map((part) => part.path)).toEqual([1, 2, 3].map((i) => join(path, '..', name(i, 3))))
    expect(file.bytes).toBe(file.parts.reduce((sum, { bytes }) => sum + bytes, 0))
    expect(file.metadata.string('general.architecture')).toBe('llama')
    expect([...withoutSplitKeys(file.metadata).values.keys()]).toEqual(['general.architecture'])
  })

  it('may have a first part without tensors', async () => {
    const file = await readGguf(await write([{ tensors: [] }, { tensors: ['a'] }]))
    expect([...file.tensors.values()].map((t) => [t.name, t.part])).toEqual([['a', 1]])
  })

  it('of one part is a file like any other', async () => {
    const file = await readGguf(await write([{ tensors: ['a'], name: 'alone.gguf' }]))
    expect(file.parts).toHaveLength(1)
  })

  it('may lie behind links, as in the cache of the Hub', async () => {
    const path = await write(THREE)
    const links = await mkdtemp(join(folder, 'links-'))
    for (const i of [1, 2, 3]) await symlink(join(path, '..', name(i, 3)), join(links, name(i, 3)))
    expect((await readGguf(join(links, name(1, 3)))).tensors.size).toBe(3)
  })

  it.each([
    ['m-00001-of-00003.gguf', 'm'],
    ['a/b/M-Q4_K-00001-of-00046.gguf', 'M-Q4_K'],
    ['m-1-of-3.gguf', 'm-1-of-3'],
    ['-00001-of-00003.gguf', '-00001-of-00003'],
    ['m.gguf', 'm'],
    ['m', 'm'],
  ])('%s is called %s', (path, called) => {
    expect(ggufModelName(path)).toBe(called)
  })
})

describe('a split file is refused', () => {
  const cases: [string, readonly Part[], string][] = [
    ['with another number than its place', changed(1, { keys: { 'split.no': 2 } }), 'split.no is 2 where part 2 has 1'],
    ['where a part has no number', changed(1, { keys: { 'split.no': null } }), 'split.no is missing'],
    [
      'with numbers of different files',
      changed(2, { keys: { 'split.count': 4 } }),
      'split.count is not what m-00001-of-00003.gguf says',
    ],
    ['with two counts of tensors', changed(1, { keys: { 'split.tensors.count': 4 } }), 'parts are of different models'],
    [
      'with a wrong count of tensors',
      THREE.map((p) => ({ ...p, keys: { 'split.tensors.count': 4 } })),
      'says 4 tensors, the 3 parts have 3',
    ],
    [
      'with more tensors than it says',
      THREE.map((p) => ({ ...p, keys: { 'split.tensors.count': 2 } })),
      'says 2 tensors, the 3 parts have more',
    ],
    [
      'without a count of tensors',
      THREE.map((p) => ({ ...p, keys: { 'split.tensors.count': null } })),
      'split.tensors.count is missing',
    ],
    [
      'with a tensor twice',
      changed(2, { tensors: ['b'] }),
      'm-00003-of-00003.gguf: has tensor b, which m-00002-of-00003.gguf has too',
    ],
    [
      'with a part of another architecture',
      changed(1, { keys: { 'general.architecture': 'opt' } }),
      'parts are of different models',
    ],
    ['under a name without a number', changed(0, { name: 'model.gguf' }), 'its name must be model-00001-of-00003.gguf'],
    ['under the name of a longer one', changed(0, { name: name(1, 4) }), 'its name must be m-00001-of-00003.gguf'],
    ['with parts without end', [{ tensors: [], keys: { 'split.count': 65_535 } }], 'one of 65535 parts'],
    ['with a negative count', [{ tensors: [], keys: { 'split.count': -1 } }], 'split.count must be a whole number'],
    ['with a negative number', changed(0, { keys: { 'split.no': -1 } }), 'split.no must be a whole number'],
    [
      'with a huge number',
      changed(0, { keys: { 'split.no': 2 ** 31 - 1 } }),
      'is part 2147483648 of a model in 3 parts',
    ],
    [
      'with more tensors than any model',
      [{ tensors: [], name: name(1, 2), keys: { 'split.count': 2, 'split.tensors.count': 2 ** 30 } }],
      'over the limit',
    ],
    ['with a count that is text', [{ tensors: [], keys: { 'split.count': 'three' } }], 'split.count must be'],
  ]
  it.each(cases)('%s', async (_, parts, reason) => {
    const read = readGguf(await write(parts))
    await expect(read).rejects.toBeInstanceOf(FileError)
    await expect(read).rejects.toThrow(reason)
  })

  it('from another part than the first, which it names', async () => {
    const second = join(await write(THREE), '..', name(2, 3))
    await expect(readGguf(second)).rejects.toThrow(
      `${second}: is part 2 of a model in 3 parts; give the first, ${name(1, 3)}`,
    )
  })

  it('where a part is missing, cut or something else', async () => {
    const path = await write(THREE)
    const last = join(path, '..', name(3, 3))
    await rename(last, `${last}.part`)
    await expect(readGguf(path)).rejects.toMatchObject({ code: 'file_missing', path: last })
    await symlink(join(path, '..', 'nowhere'), last)
    await expect(readGguf(path)).rejects.toThrow(`${last}: is missing: ${name(1, 3)} is the first of 3 parts`)
    await unlink(last)
    await symlink(path, last)
    await expect(readGguf(path)).rejects.toThrow(`${last}: split.no is 0 where part 3 has 2`)
    await unlink(last)
    await symlink('/dev/null', last)
    await expect(readGguf(path)).rejects.toThrow(process.platform === 'win32' ? FileError : 'is not a regular file')
  })
})
