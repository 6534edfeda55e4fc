import { open } from 'node:fs/promises'
import { addAbortSignal, Readable } from 'node:stream'
import { FileError } from '../errors.js'
import { JSON_LIMITS, type JsonLimits, type JsonObject, parseJsonObject } from '../json.js'
import { fileError } from './file-errors.js'
import { openReader } from './file-reader.js'
import { firstInvalidUtf8 } from './utf8.js'

/** The largest tokenizer.json of a published model is under 40 MB. */
export const MAX_TEXT_BYTES = 256 * 1024 * 1024

/** A whole UTF-8 file. What is no regular file is refused: a device may have no end. */
export async function readTextFile(path: string): Promise<string> {
  return decode(path, await readBytes(path))
}

/** The text of `readInput`. */
export async function readInputText(path: string): Promise<string> {
  return decode(path, await readInput(path))
}

function decode(path: string, bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (error) {
    throw new FileError(path, `is not UTF-8 text: byte ${firstInvalidUtf8(bytes)}`, 'file_invalid', { cause: error })
  }
}

async function readBytes(path: string): Promise<Buffer> {
  const reader = await openReader(path)
  try {
    if (reader.size > MAX_TEXT_BYTES)
      throw new FileError(path, `is too large to be read as text (${reader.size} bytes)`)
    const bytes = Buffer.allocUnsafe(reader.size)
    await reader.read(bytes, 0)
    return bytes
  } finally {
    await reader.close()
  }
}

/** A descriptor that the process has already, as `<(command)` of a shell gives: opening it does not wait for a writer. */
const OPEN_DESCRIPTOR = /^\/(dev|proc\/self)\/(fd\/\d+|stdin)$/

/**
 * The bytes of a text that a person gives a command: a file, or what comes through a pipe that is open already. A pipe with
 * a name of its own is refused, since nothing may ever be written to it.
 */
export async function readInput(path: string): Promise<Buffer> {
  if (!OPEN_DESCRIPTOR.test(path)) return readBytes(path)
  try {
    const handle = await open(path, 'r')
    // Ends the descriptor too.
    return await readStream(path, handle.createReadStream())
  } catch (error) {
    throw fileError(path, error)
  }
}

/**
 * The bytes of a stream; one that gives more than any text has throws a FileError under the name `source`.
 * @param signal ends the wait for what has not come yet
 */
export async function readStream(source: string, stream: NodeJS.ReadableStream, signal?: AbortSignal): Promise<Buffer> {
  if (signal !== undefined && stream instanceof Readable) addAbortSignal(signal, stream)
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of stream) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk
    size += bytes.length
    if (size > MAX_TEXT_BYTES) throw new FileError(source, `gives more than ${MAX_TEXT_BYTES} bytes of text`)
    chunks.push(bytes)
  }
  return Buffer.concat(chunks)
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

export async function readJsonFile(path: string, limits: JsonLimits = JSON_LIMITS): Promise<JsonObject> {
  return parseJsonObject(path, await readTextFile(path), 'file', limits)
}

export async function readOptionalJsonFile(path: string, limits: JsonLimits = JSON_LIMITS): Promise<JsonObject | null> {
  const text = await readOptionalTextFile(path)
  return text === null ? null : parseJsonObject(path, text, 'file', limits)
}
