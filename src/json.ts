import { randomUUID } from 'node:crypto'
import { FileError } from './errors.js'

export type JsonObject = Readonly<Record<string, unknown>>

/** What a text may hold before it is parsed: parsing takes memory and time for each of these. */
export interface JsonLimits {
  readonly keys: number
  /** Objects and lists. */
  readonly containers: number
  /** Entries of objects and lists after the first of each. */
  readonly entries: number
}

/**
 * For files with a vocabulary: the largest of a published model has 300,000 keys and 600,000 merges, each of which may be
 * a list.
 */
export const JSON_LIMITS: JsonLimits = { keys: 1_000_000, containers: 2_500_000, entries: 16_000_000 }
/** For settings, and for the index of a checkpoint's shards, which names every tensor. */
export const CONFIG_LIMITS: JsonLimits = { keys: 250_000, containers: 250_000, entries: 2_000_000 }

/** Far deeper than any file has a reason to be, and shallow enough for what walks the value by recursion. */
const MAX_DEPTH = 256

/**
 * Parses JSON as `JSON.parse` does, and the `NaN`, `Infinity` and `-Infinity` that Python writes as those numbers. The
 * error says what is wrong, without quoting the file.
 * @param what names the text in messages, `policy` for one; where it is empty, the path does
 * @throws FileError
 */
export function parseJson(path: string, text: string, what = 'file', limits = JSON_LIMITS): unknown {
  const subject = what === '' ? '' : `the ${what} `
  checkSize(path, text, subject, limits)
  try {
    return JSON.parse(text)
  } catch (error) {
    const value = parseWithNonFinite(text)
    if (value !== undefined) return value
    throw new FileError(path, `${subject}is not valid JSON`, 'file_invalid', { cause: error })
  }
}

/** `parseJson` of a text that must be an object. */
export function parseJsonObject(path: string, text: string, what = 'file', limits = JSON_LIMITS): JsonObject {
  const value = parseJson(path, text, what, limits)
  if (!isJsonObject(value)) throw new FileError(path, `the ${what} is not a JSON object`)
  return value
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Counts what the text would become without making it, in less than a tenth of the time that parsing takes. */
function checkSize(path: string, text: string, subject: string, limits: JsonLimits): void {
  let depth = 0
  let keys = 0
  let containers = 0
  let entries = 0
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c <= 0x20) continue
    if (c === 0x22) i = endOfString(text, i)
    else if (c === 0x2c) entries++
    else if (c === 0x3a) keys++
    else if (c === 0x7d || c === 0x5d) depth--
    else if (c === 0x7b || c === 0x5b) {
      containers++
      if (++depth > MAX_DEPTH) throw new FileError(path, `${subject}is nested more than ${MAX_DEPTH} deep`)
    }
  }
  if (keys > limits.keys) throw new FileError(path, `${subject}has ${keys} keys, at most ${limits.keys} may be`)
  if (containers > limits.containers) {
    throw new FileError(path, `${subject}has ${containers} objects and lists, at most ${limits.containers} may be`)
  }
  if (entries > limits.entries) {
    throw new FileError(path, `${subject}has ${entries} entries, at most ${limits.entries} may be`)
  }
}

/**
 * The value of a text that is JSON but for Python's non-finite numbers; undefined where it is none. They are put into
 * JSON's terms, and the rest is left to `JSON.parse`: 1e999 is Infinity there, and a string that nobody can have written
 * stands for NaN.
 */
function parseWithNonFinite(text: string): unknown {
  if (!text.includes('NaN') && !text.includes('Infinity')) return undefined
  const mark = `NaN-${randomUUID()}`
  let out = ''
  let copied = 0
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c === 0x22) {
      i = endOfString(text, i)
      continue
    }
    const word = c === 0x49 ? 'Infinity' : c === 0x4e ? 'NaN' : null
    if (word === null || !text.startsWith(word, i) || !standsAlone(text, i, i + word.length)) continue
    out += text.slice(copied, i) + (word === 'NaN' ? JSON.stringify(mark) : '1e999')
    copied = i + word.length
    i = copied - 1
  }
  if (copied === 0) return undefined
  try {
    return JSON.parse(out + text.slice(copied), (key, value: unknown) => {
      if (key === mark) throw new SyntaxError('NaN is no key')
      return value === mark ? Number.NaN : value
    })
  } catch {
    return undefined
  }
}

/** Whether the word at `start` is a whole value, or one after a minus sign: `1Infinity` and `InfinityX` are not. */
function standsAlone(text: string, start: number, end: number): boolean {
  const before = text[start - 1] === '-' && text[start] === 'I' ? start - 2 : start - 1
  return /^[\s,:[]?$/.test(text.charAt(before)) && /^[\s,\]}]?$/.test(text.charAt(end))
}

/**
 * The first key that an object in this text has twice, or null. `JSON.parse` silently takes the last one, so two
 * readers of the same file could see different tensors. The text must have parsed before.
 */
export function duplicateKey(text: string): string | null {
  const objects: (Set<string> | null)[] = []
  let expectsKey = false
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c === 0x22) {
      const end = endOfString(text, i)
      if (expectsKey) {
        const key: string = JSON.parse(text.slice(i, end + 1))
        const keys = objects[objects.length - 1]
        if (keys?.has(key)) return key
        keys?.add(key)
        expectsKey = false
      }
      i = end
    } else if (c === 0x7b) {
      objects.push(new Set())
      expectsKey = true
    } else if (c === 0x5b) {
      objects.push(null)
    } else if (c === 0x7d || c === 0x5d) {
      objects.pop()
      expectsKey = false
    } else if (c === 0x2c) {
      expectsKey = objects[objects.length - 1] instanceof Set
    }
  }
  return null
}

/** Position of the quote that closes the string which opens at `start`; the text's length where none does. */
export function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let before = end
    while (text.charCodeAt(before - 1) === 0x5c) before--
    // An even number of backslashes escape each other.
    if ((end - before) % 2 === 0) return end
  }
  return text.length
}
