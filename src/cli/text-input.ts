import { readFile } from 'node:fs/promises'
import { fileError } from '../checkpoint/file-errors.js'
import type { Model } from '../engine/api.js'
import { FileError, UnsupportedError } from '../errors.js'

/** All of a stream as text, without the line break at its end. */
export async function readAll(stream: NodeJS.ReadableStream): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(typeof chunk === 'string' ? Buffer.from(chunk) : chunk)
  return Buffer.concat(chunks)
    .toString('utf8')
    .replace(/\r?\n$/, '')
}

/** A UTF-8 text file, as it is. */
export async function readTextFile(path: string): Promise<string> {
  let bytes: Buffer
  try {
    bytes = await readFile(path)
  } catch (error) {
    throw fileError(path, error)
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new FileError(path, 'is not a UTF-8 text file')
  }
}

/** Token ids of a text, with what the tokenizer's post-processor adds. */
export function encodeText(model: Model, text: string): number[] {
  if (model.tokenizer === null) {
    throw new UnsupportedError(`${model.name} has no tokenizer that Shoal can use; give token ids with --tokens`)
  }
  return model.tokenizer.encode(text)
}
