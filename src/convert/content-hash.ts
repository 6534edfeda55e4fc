import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { writeAtomicFile } from '../checkpoint/atomic-file.js'
import { fileError } from '../checkpoint/file-errors.js'
import { makeFolder } from '../checkpoint/make-folder.js'
import { readJsonFile } from '../checkpoint/text-file.js'
import { FileError, ShoalError } from '../errors.js'

/** A file changed less than this ago may change again within the same tick of its clock: its hash is not remembered. */
const SETTLED_MS = 2000

/**
 * SHA-256 of a file. It is remembered in the cache by path, size and time of change, so that an 8 GB checkpoint is read
 * once and not at every start.
 */
export async function contentHash(path: string, cacheDir: string, signal?: AbortSignal): Promise<string> {
  const absolute = resolve(path)
  let stamp: string
  let settled: boolean
  try {
    const found = await stat(absolute, { bigint: true })
    // Reading a pipe would wait for its writer, and a device may have no end.
    if (!found.isFile()) throw new FileError(path, 'is not a regular file')
    const { size, mtimeNs, ctimeNs, mtimeMs, ctimeMs } = found
    stamp = `${size} ${mtimeNs} ${ctimeNs}`
    settled = Date.now() - Number(mtimeMs > ctimeMs ? mtimeMs : ctimeMs) > SETTLED_MS
  } catch (error) {
    throw fileError(path, error)
  }
  const folder = join(cacheDir, 'hashes')
  const record = join(folder, `${createHash('sha256').update(absolute).digest('hex').slice(0, 32)}.json`)
  const known = await recall(record, absolute, stamp)
  if (known !== null) return known
  const hash = await hashFile(path, signal)
  if (settled) await remember(folder, record, { path: absolute, stamp, hash })
  return hash
}

async function recall(record: string, path: string, stamp: string): Promise<string | null> {
  try {
    const entry = await readJsonFile(record)
    if (entry.path !== path || entry.stamp !== stamp) return null
    return typeof entry.hash === 'string' && /^[0-9a-f]{64}$/.test(entry.hash) ? entry.hash : null
  } catch {
    return null
  }
}

/** A record that cannot be kept costs time at the next start and nothing else. */
async function remember(folder: string, record: string, entry: object): Promise<void> {
  try {
    await makeFolder(folder)
    await writeAtomicFile(record, JSON.stringify(entry))
  } catch {
    // See above.
  }
}

async function hashFile(path: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256')
  const stream = createReadStream(path, { highWaterMark: 1024 * 1024, ...(signal !== undefined && { signal }) })
  try {
    for await (const chunk of stream) hash.update(chunk as Buffer)
  } catch (error) {
    if (signal?.aborted) throw new ShoalError('aborted', `${path}: reading was stopped`, { cause: error })
    throw fileError(path, error)
  }
  return hash.digest('hex')
}
