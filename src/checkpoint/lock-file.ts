import { closeSync, existsSync, fstatSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { resolve } from 'node:path'
import { isAlive } from './atomic-file.js'
import { processStart } from './process-start.js'
import { openRegularSync } from './regular-file.js'

/** Who has a lock; null where somebody is just writing it. */
export interface LockHolder {
  readonly pid: number | null
}

/** A lock without a process in it is one that a process is just writing, or could not write to a full disk. */
const LOCK_WRITTEN_MS = 5000

/** The process that has a lock, and when it was started where the system tells. */
const LOCK = /^\s*(\d+)(?: (\d+))?\s*$/

/** Locks of this process. */
const held = new Set<string>()

/**
 * Takes a lock, and one whose process is gone; its file is there as long as the lock is held.
 * @returns what gives it back, or who has it
 * @throws what the operating system says of the file; FileError where it is no regular one
 */
export function tryLock(path: string): (() => void) | LockHolder {
  const key = resolve(path)
  if (!createLock(path)) {
    const holder = lockHolder(path)
    if (holder !== null) return holder
    rmSync(path, { force: true })
    if (!createLock(path)) return { pid: null }
  }
  held.add(key)
  return () => {
    held.delete(key)
    rmSync(path, { force: true })
  }
}

/** Who has a lock; null where nobody does. */
export function lockHolder(path: string): LockHolder | null {
  if (!existsSync(path)) return null
  const { fd } = openRegularSync(path)
  try {
    const text = Buffer.alloc(64)
    const [, owner, start] = LOCK.exec(text.toString('latin1', 0, readSync(fd, text))) ?? []
    if (owner === undefined)
      return Math.abs(Date.now() - fstatSync(fd).mtimeMs) < LOCK_WRITTEN_MS ? { pid: null } : null
    const pid = Number(owner)
    if (pid === process.pid) return held.has(resolve(path)) ? { pid } : null
    return isAlive(pid) && startedAt(pid, start) ? { pid } : null
  } finally {
    closeSync(fd)
  }
}

/** False where another process has the id now: ids come round again, in a container after every start. */
function startedAt(pid: number, start: string | undefined): boolean {
  const now = processStart(pid)
  return start === undefined || now === null || now === start
}

/** False where there is a lock already. What cannot be written leaves none. */
function createLock(path: string): boolean {
  let fd: number
  try {
    fd = openSync(path, 'wx')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
  try {
    const start = processStart(process.pid)
    writeSync(fd, start === null ? String(process.pid) : `${process.pid} ${start}`)
  } catch (error) {
    rmSync(path, { force: true })
    throw error
  } finally {
    closeSync(fd)
  }
  return true
}
