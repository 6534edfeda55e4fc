import { FileError } from '../errors.js'
import { openReader } from './file-reader.js'
import { type JsonObject, parseJsonObject } from './json.js'
import { firstInvalidUtf8 } from './utf8.js'

/** The largest tokenizer.json of a published model is under 40 MB. */
const MAX_TEXT_BYTES = 256 * 1024 * 1024

/** A whole UTF-8 file. */
export async function readTextFile(path: string): Promise<string> {
  const reader = await openReader(path)
  try {
    if (reader.size > MAX_TEXT_BYTES)
      throw new FileError(path, `is too large to be read as text (${reader.size} bytes)`)
    const bytes = new Uint8Array(reader.size)
    await reader.read(bytes, 0)
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    } catch (error) {
      throw new FileError(path, `is not UTF-8 text: byte ${firstInvalidUtf8(bytes)}`, 'file_invalid', { cause: error })
    }
  } finally {
    await reader.close()
  }
}

/** Like `readTextFile`; null where there is no such file. */
export async function readOptionalTextFile(path: string): Promise<string | null> {
  try {
    return await readTextFile(path)
  } catch (error) {
    if (error instanceof FileError && error.code === 'file_missing') return null
    throw error
  }
}

export async function readJsonFile(path: string): Promise<JsonObject> {
  return parseJsonObject(path, await readTextFile(path))
}

export async function readOptionalJsonFile(path: string): Promise<JsonObject | null> {
  const text = await readOptionalTextFile(path)
  return text === null ? null : parseJsonObject(path, text)
}
