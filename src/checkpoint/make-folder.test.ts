import { mkdtemp, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FileError } from '../errors.js'
import { makeFolder } from './make-folder.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-folder-'))
})
afterAll(() => rm(folder, { recursive: true }))

describe('makeFolder', () => {
  it('makes what is missing, by several callers at once too', async () => {
    const path = join(folder, 'a', 'b', 'c')
    await Promise.all([makeFolder(path), makeFolder(path), makeFolder(join(path, 'd'))])
    expect((await stat(join(path, 'd'))).isDirectory()).toBe(true)
    await makeFolder(path)
  })

  it.runIf(process.platform === 'linux')('ends where a folder takes no others', async () => {
    await expect(makeFolder('/proc/nope/models')).rejects.toThrow(
      new FileError('/proc/nope', 'cannot be made a folder'),
    )
  })

  it('names the file that is in the way', async () => {
    const file = join(folder, 'file')
    await writeFile(file, '')
    await expect(makeFolder(file)).rejects.toThrow(new FileError(file, 'is not a folder'))
    await expect(makeFolder(join(file, 'a', 'b'))).rejects.toThrow(new FileError(file, 'is not a folder'))
    const link = join(folder, 'link')
    await symlink(join(folder, 'nowhere', 'at', 'all'), link)
    await expect(makeFolder(link)).rejects.toThrow(new FileError(link, 'cannot be made a folder'))
  })
})
