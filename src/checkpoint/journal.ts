import { createHash } from 'node:crypto'
import { appendFileSync, existsSync, readFileSync, rmSync, statSync, truncateSync } from 'node:fs'
import { basename } from 'node:path'
import { FileError, printable } from '../errors.js'
import { isJsonObject, type JsonObject } from '../json.js'
import { fileError } from './file-errors.js'
import { tryLock } from './lock-file.js'
import { regularSize } from './regular-file.js'
import { readTextFile } from './text-file.js'

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

/**
 * What a journal holds, for readers; a last line that a stop cut off is left out.
 * @throws FileError
 */
export async function readJournal(path: string, format: string): Promise<{ run: JsonObject; records: JsonObject[] }> {
  const lines = (await readTextFile(path)).split('\n').slice(0, -1)
  const [first, ...records] = lines
  const header = first === undefined ? {} : parseLine(path, first, 1)
  if (header.format !== format || header.version !== 1 || !isJsonObject(header.run)) {
    throw new FileError(path, `is no ${format} file of this version`)
  }
  return { run: header.run, records: records.map((line, i) => parseLine(path, line, i + 2)) }
}

/** What stands in a run's facts for any JSON value that is too long for them. */
export function digest(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 16)
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
  const [earlier, now] = [flatFacts(before), flatFacts(JSON.parse(JSON.stringify(run)))]
  for (const key of new Set([...Object.keys(now), ...Object.keys(earlier)])) {
    const [was, is] = [earlier[key], now[key]].map((value) => (value === undefined ? 'none' : JSON.stringify(value)))
    if (was === is) continue
    throw new FileError(
      path,
      `was begun by a run with ${key.replaceAll('_', ' ')} ${was}, not ${is}; give the same command to go on with it, or remove it to start over`,
    )
  }
}

/** Facts of facts by both names, such as `prompts seed`. */
function flatFacts(facts: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(facts).flatMap(([key, value]) =>
      isJsonObject(value) ? Object.entries(value).map(([own, item]) => [`${key} ${own}`, item]) : [[key, value]],
    ),
  )
}

/** Two processes that write one journal would write everything twice. Returns what takes the lock away. */
function lock(journal: string): () => void {
  const path = `${journal}.lock`
  let taken: ReturnType<typeof tryLock>
  try {
    taken = tryLock(path)
  } catch (error) {
    throw fileError(journal, error)
  }
  if (typeof taken === 'function') return taken
  if (taken.pid === null) throw new FileError(journal, 'another process is beginning to write it')
  throw new FileError(
    journal,
    `process ${taken.pid} is writing it; if that is another program, remove ${printable(basename(path), 80)}`,
  )
}
