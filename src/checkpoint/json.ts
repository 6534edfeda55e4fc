import { FileError } from '../errors.js'

export type JsonObject = Readonly<Record<string, unknown>>

/** Parses a JSON object; the error says where, without quoting the file. */
export function parseJsonObject(path: string, text: string, what = 'file'): JsonObject {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new FileError(path, `the ${what} is not valid JSON`, 'file_invalid', { cause: error })
  }
  if (!isJsonObject(value)) throw new FileError(path, `the ${what} is not a JSON object`)
  return value
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
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

/** Position of the quote that closes the string which opens at `start`. */
export function endOfString(text: string, start: number): number {
  let i = start + 1
  while (i < text.length && text.charCodeAt(i) !== 0x22) i += text.charCodeAt(i) === 0x5c ? 2 : 1
  return i
}
