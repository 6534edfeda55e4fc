import { fork } from 'node:child_process'
import { once } from 'node:events'
import { type FileHandle, mkdir, mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createAtomicFile, removeLeftovers } from './atomic-file.js'
import { GgufMetadata } from './gguf-metadata.js'
import { createGgufWriter } from './gguf-write.js'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-atomic-'))
})
afterEach(async () => {
  vi.restoreAllMocks()
  await rm(folder, { recursive: true })
})

/** Makes every write of every file fail as it does on a full disk. */
async function fillDisk(method: 'write' | 'sync'): Promise<void> {
  const handle = await open(join(folder, 'probe'), 'w')
  const prototype = Object.getPrototypeOf(handle) as FileHandle
  await handle.close()
  await rm(join(folder, 'probe'))
  const full = Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC', syscall: 'write' })
  vi.spyOn(prototype, method).mockRejectedValue(full)
}

describe('an atomic file', () => {
  it('has its name only when it is complete, and replaces an older one', async () => {
    const path = join(folder, 'x')
    await writeFile(path, 'old')
    const file = await createAtomicFile(path)
    await file.write(Buffer.from('new'), 0)
    await file.write(Buffer.from('er'), 3)
    expect(await readFile(path, 'utf8')).toBe('old')
    await file.commit()
    expect(await readFile(path, 'utf8')).toBe('newer')
    await file.abort()
    expect(await readdir(folder)).toEqual(['x'])
  })

  it.each(['write', 'sync'] as const)('leaves nothing on a full disk (%s)', async (method) => {
    await fillDisk(method)
    const path = join(folder, 'x')
    const file = await createAtomicFile(path)
    const done = file.write(Buffer.from('data'), 0).then(() => file.commit())
    await expect(done).rejects.toMatchObject({ code: 'disk_full', message: `${path}: the disk is full` })
    expect(await readdir(folder)).toEqual([])
  })

  it('tells a full disk through the writers that stand on it', async () => {
    await fillDisk('write')
    const path = join(folder, 'x.gguf')
    const writer = createGgufWriter(path, new GgufMetadata(), [])
    await expect(writer).rejects.toMatchObject({ code: 'disk_full', path })
    expect(await readdir(folder)).toEqual([])
  })

  it('does not take the place of a folder or a device', async () => {
    await expect(createAtomicFile(folder)).rejects.toThrow('is a folder')
    if (process.platform !== 'win32') await expect(createAtomicFile('/dev/null')).rejects.toThrow('not a regular file')
  })

  it('names a folder that is missing', async () => {
    const path = join(folder, 'no', 'x')
    await expect(createAtomicFile(path)).rejects.toMatchObject({ code: 'file_missing', path })
    await writeFile(join(folder, 'file'), '')
    await expect(createAtomicFile(join(folder, 'file', 'x'))).rejects.toMatchObject({ code: 'file_missing' })
  })
})

describe('what a killed process left', () => {
  const script = `
    const { createAtomicFile } = await import(process.argv[2])
    const file = await createAtomicFile(process.argv[3])
    await file.write(Buffer.from('half'), 0)
    if (process.argv[4] === 'exit') process.exit(1)
    process.send('written')
    setInterval(() => {}, 1000)
  `

  async function start(path: string, ...rest: string[]) {
    const runner = join(folder, 'runner.mjs')
    await writeFile(runner, script)
    const module = new URL('./atomic-file.ts', import.meta.url).href
    const loader = new URL('../../test/typescript-loader.mjs', import.meta.url).href
    return fork(runner, [module, path, ...rest], { execArgv: ['--import', loader] })
  }

  it('goes with the next file of that name, and not before', async () => {
    const path = join(folder, 'target', 'x')
    await mkdir(join(folder, 'target'))
    const child = await start(path)
    await once(child, 'message')
    await removeLeftovers(join(folder, 'target'))
    expect(await readdir(join(folder, 'target'))).toHaveLength(1)
    child.kill('SIGKILL')
    await once(child, 'exit')
    const [left] = await readdir(join(folder, 'target'))
    expect(left).toMatch(/^x\..*\.tmp$/)
    const file = await createAtomicFile(path)
    expect(await readdir(join(folder, 'target'))).not.toContain(left)
    await file.abort()
    expect(await readdir(join(folder, 'target'))).toEqual([])
  })

  it('is nothing where it left by process.exit', async () => {
    const path = join(folder, 'target', 'x')
    await mkdir(join(folder, 'target'))
    const child = await start(path, 'exit')
    expect((await once(child, 'exit'))[0]).toBe(1)
    expect(await readdir(join(folder, 'target'))).toEqual([])
  })
})
