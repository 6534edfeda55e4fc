import { createHash, randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { type FileHandle, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { hostname } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { FileError } from '../errors.js'
import { fileError, systemCode } from './file-errors.js'

/** A file that appears under its name only when it is complete. */
export interface AtomicFile {
  /** The name that it will have. */
  readonly path: string
  write(bytes: Uint8Array, position: number): Promise<void>
  /** Gives the file its name, replacing an older one. */
  commit(): Promise<void>
  /** Removes what was written; nothing after `commit`. */
  abort(): Promise<void>
}

/** Files and folders under way in this process: a process that leaves by `process.exit` takes them along. */
const unfinished = new Set<string>()
let removesAtExit = false

const HOST = createHash('sha256').update(hostname()).digest('hex').slice(0, 8)
const TEMPORARY = /\.([0-9a-f]{8})-(\d+)-[0-9a-f]{12}\.tmp$/

/**
 * Opens a temporary file beside `path`. Its name carries host and process, so that what a killed process left behind
 * can be told from what a running one is writing; leftovers of the same target are removed here.
 */
export async function createAtomicFile(path: string): Promise<AtomicFile> {
  await checkTarget(path)
  await removeLeftovers(dirname(path), basename(path))
  const temporary = temporaryPath(path)
  let handle: FileHandle
  try {
    handle = await open(temporary, 'wx')
  } catch (error) {
    throw fileError(path, error)
  }
  track(temporary)
  let pending = true

  async function abort(): Promise<void> {
    if (!pending) return
    pending = false
    await handle.close().catch(() => undefined)
    await rm(temporary, { force: true })
    untrack(temporary)
  }

  return {
    path,
    abort,
    async write(bytes, position) {
      try {
        let done = 0
        while (done < bytes.length) {
          done += (await handle.write(bytes, done, bytes.length - done, position + done)).bytesWritten
        }
      } catch (error) {
        await abort()
        throw fileError(path, error)
      }
    },
    async commit() {
      try {
        // A full disk may show only now; a name must never stand for missing data.
        await handle.sync()
        await handle.close()
        await renameOver(temporary, path)
        pending = false
        untrack(temporary)
      } catch (error) {
        await abort()
        throw fileError(path, error)
      }
    },
  }
}

/** Writes a small file at once; it appears under its name when it is complete. Throws FileError. */
export async function writeAtomicFile(path: string, content: string | Uint8Array): Promise<void> {
  const file = await createAtomicFile(path)
  await file.write(typeof content === 'string' ? Buffer.from(content) : content, 0)
  await file.commit()
}

/** Told at the start and not after an hour's work; and renaming over a device would replace it. */
async function checkTarget(path: string): Promise<void> {
  const folder = await stat(dirname(path)).catch(() => null)
  if (!folder?.isDirectory()) throw new FileError(path, 'its folder does not exist', 'file_missing')
  const target = await stat(path).catch(() => null)
  if (target?.isDirectory()) throw new FileError(path, 'is a folder, not a file')
  if (target !== null && !target.isFile()) throw new FileError(path, 'is not a regular file')
}

/** Windows refuses to replace a file while somebody has it open for a moment (a virus scanner, the other converter). */
export async function renameOver(from: string, to: string): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      await rename(from, to)
      return
    } catch (error) {
      const code = systemCode(error)
      const busy = process.platform === 'win32' && (code === 'EPERM' || code === 'EACCES' || code === 'EBUSY')
      if (!busy || attempt === 10) throw error
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}

/** Removes temporary files and folders in `folder` (of the target `name`, or of all) whose process is gone. */
export async function removeLeftovers(folder: string, name?: string): Promise<void> {
  let entries: string[]
  try {
    entries = await readdir(folder)
  } catch {
    return
  }
  for (const entry of entries) {
    const match = TEMPORARY.exec(entry)
    if (match === null || match[1] !== HOST) continue
    if (name !== undefined && entry.slice(0, match.index) !== name) continue
    if (isAlive(Number(match[2]))) continue
    await rm(join(folder, entry), { force: true, recursive: true }).catch(() => undefined)
  }
}

/** True where a process of this machine has this id. */
export function isAlive(pid: number): boolean {
  // 0 and below stand for groups of processes, and a number that is none for nothing.
  if (!Number.isInteger(pid) || pid < 1 || pid >= 2 ** 31) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}

/** A name beside `path` that tells host and process. */
export function temporaryPath(path: string): string {
  return `${path}.${HOST}-${process.pid}-${randomBytes(6).toString('hex')}.tmp`
}

/** What stands under this name goes when the process does, unless it is untracked before. */
export function track(temporary: string): void {
  unfinished.add(temporary)
  if (removesAtExit) return
  removesAtExit = true
  process.on('exit', () => {
    for (const file of unfinished) {
      try {
        rmSync(file, { force: true, recursive: true })
      } catch {
        // Gone already, or out of reach: nothing more can be done while leaving.
      }
    }
  })
}

export function untrack(temporary: string): void {
  unfinished.delete(temporary)
}
