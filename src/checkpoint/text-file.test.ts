import { mkdtempSync, openSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FileError } from '../errors.js'
import { openReader } from './file-reader.js'
import { MAX_TEXT_BYTES, readInput, readStream, readTextFile } from './text-file.js'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-text-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('text', () => {
  it('is read from a file, and from a descriptor that is open', async () => {
    const path = join(folder, 'text.txt')
    writeFileSync(path, 'Grüße')
    expect(await readTextFile(path)).toBe('Grüße')
    expect((await readInput(path)).toString()).toBe('Grüße')
    if (process.platform === 'win32') return
    expect((await readInput(`/dev/fd/${openSync(path, 'r')}`)).toString()).toBe('Grüße')
  })

  it('is refused where a file or a stream has more than any text', async () => {
    const path = join(folder, 'large.txt')
    writeFileSync(path, '')
    truncateSync(path, MAX_TEXT_BYTES + 1)
    await expect(readTextFile(path)).rejects.toThrow(/large\.txt: is too large to be read as text/)
    const chunk = Buffer.alloc(16 * 1024 * 1024)
    let given = 0
    const endless = new Readable({
      read() {
        given += chunk.length
        this.push(chunk)
      },
    })
    await expect(readStream('stdin', endless)).rejects.toThrow(
      new FileError('stdin', `gives more than ${MAX_TEXT_BYTES} bytes of text`),
    )
    expect(given).toBeLessThan(2 * MAX_TEXT_BYTES)
  })

  it('is refused where the file shrinks while it is read', async () => {
    const path = join(folder, 'shrinks.txt')
    writeFileSync(path, 'x'.repeat(1000))
    const reader = await openReader(path)
    truncateSync(path, 10)
    await expect(reader.read(new Uint8Array(1000), 0)).rejects.toThrow(/ends at byte 10, in the middle of its data/)
    await reader.close()
  })
})
