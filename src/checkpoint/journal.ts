import {
  appendFileSync,
  closeSync,
  existsSync,
  fstatSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  truncateSync,
  writeSync,
} from 'node:fs'
import { basename } from 'node:path'
import { FileError, printable } from '../errors.js'
import { isJsonObject, type JsonObject } from '../json.js'
import { isAlive } from './atomic-file.js'
import { fileError } from './file-errors.js'
import { processStart } from './process-start.js'
import { openRegularSync, regularSize } from './regular-file.js'

/** A file of JSON lines that a long run writes, so that it goes on where it was stopped. One process has it at a time. */
export interface Journal {
  append(record: object): void
  /** To be called in the end, finished or not; with `remove` where what the file holds is kept elsewhere. */
  close(options?: { readonly remove: boolean }): void
}

/** What a run is about, by the names that a user knows: what must be the same for a run to go on. */
export type RunFacts = Readonly<Record<string, unknown>>

/**
 * Opens a journal, or begins one. The first line says what run it is of. A last line that a stop cut off is cut away.
 *
 * @param format names the kind of journal in its first line
 * @param take called with every record that the file holds, and the number of its line
 * @throws FileError where the file is of another run, damaged, or in the hands of another process
 */
export function openJournal(
  path: string,
  format: string,
  run: RunFacts,
  take: (record: JsonObject, line: number) => void,
): Journal {
  const unlock = lock(path)
  try {
    const lines = existsSync(path) ? readLines(path) : []
    const [first, ...records] = lines
    if (first === undefined) appendFileSync(path, `${JSON.stringify({ format, version: 1, run })}\n`)
    else checkHeader(path, first, format, run)
    records.forEach((line, i) => {
      take(parseLine(path, line, i + 2), i + 2)
    })
  } catch (error) {
    unlock()
    throw fileError(path, error)
  }
  return {
    append(record) {
      try {
        appendFileSync(path, `${JSON.stringify(record)}\n`)
      } catch (error) {
        throw fileError(path, error)
      }
    },
    close({ remove } = { remove: false }) {
      if (remove) rmSync(path, { force: true })
      unlock()
    },
  }
}

/** A record's line. Throws FileError. */
export function parseLine(path: string, line: string, number: number): JsonObject {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    // Told below.
  }
  if (!isJsonObject(value)) throw damaged(path, number)
  return value
}

export function damaged(path: string, line: number): FileError {
  return new FileError(path, `line ${line} is damaged; remove the file to start over`)
}

/** The whole lines of a file, which is cut after the last of them. */
function readLines(path: string): string[] {
  regularSize(path, statSync(path))
  const bytes = readFileSync(path)
  const whole = bytes.lastIndexOf(0x0a) + 1
  if (whole < bytes.length) truncateSync(path, whole)
  return bytes.subarray(0, whole).toString('utf8').split('\n').slice(0, -1)
}

function checkHeader(path: string, line: string, format: string, run: RunFacts): void {
  const header = parseLine(path, line, 1)
  const before = header.run
  if (header.format !== format || header.version !== 1 || !isJsonObject(before)) {
    throw new FileError(path, `is no ${format} file of this version; remove it, or choose another name`)
  }
  // As JSON has it: without what is undefined.
  const now: JsonObject = JSON.parse(JSON.stringify(run))
  for (const key of new Set([...Object.keys(now), ...Object.keys(before)])) {
    const [was, is] = [before[key], now[key]].map((value) => (value === undefined ? 'none' : JSON.stringify(value)))
    if (was === is) continue
    throw new FileError(
      path,
      `was begun by a run with ${key.replaceAll('_', ' ')} ${was}, not ${is}; give the same command to go on with it, or remove it to start over`,
    )
  }
}

/** A lock without a process in it is one that a process is just writing, or could not write to a full disk. */
const LOCK_WRITTEN_MS = 5000

/** The process that has a lock, and when it was started where the system tells. */
const LOCK = /^\s*(\d+)(?: (\d+))?\s*$/

/** Two processes that write one journal would write everything twice. Returns what takes the lock away. */
function lock(journal: string): () => void {
  const path = `${journal}.lock`
  try {
    if (!createLock(path)) {
      checkAbandoned(journal, path)
      rmSync(path, { force: true })
      if (!createLock(path)) throw beginning(journal)
    }
  } catch (error) {
    throw fileError(journal, error)
  }
  return () => rmSync(path, { force: true })
}

/** Throws unless the lock's process is gone, or it has none and is not being written. */
function checkAbandoned(journal: string, path: string): void {
  const { fd } = openRegularSync(path)
  try {
    const text = Buffer.alloc(64)
    const [, owner, start] = LOCK.exec(text.toString('latin1', 0, readSync(fd, text))) ?? []
    if (owner === undefined) {
      if (Math.abs(Date.now() - fstatSync(fd).mtimeMs) < LOCK_WRITTEN_MS) throw beginning(journal)
    } else if (Number(owner) !== process.pid && isAlive(Number(owner)) && startedAt(Number(owner), start)) {
      throw new FileError(
        journal,
        `process ${owner} is writing it; if that is another program, remove ${printable(basename(path), 80)}`,
      )
    }
  } finally {
    closeSync(fd)
  }
}

/** False where another process has the id now: ids come round again, in a container after every start. */
function startedAt(pid: number, start: string | undefined): boolean {
  const now = processStart(pid)
  return start === undefined || now === null || now === start
}

function beginning(journal: string): FileError {
  return new FileError(journal, 'another process is beginning to write it')
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
