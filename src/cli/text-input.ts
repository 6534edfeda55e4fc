import { readInput, readStream } from '../checkpoint/text-file.js'
import type { Model } from '../engine/api.js'
import { FileError, UnsupportedError } from '../errors.js'

/** All of a stream as text, without the line break at its end. */
export async function readAll(stream: NodeJS.ReadableStream): Promise<string> {
  return (await readStream('stdin', stream)).toString('utf8').replace(/\r?\n$/, '')
}

/** All of a stream as it is, a byte-order mark and line ends included. */
export async function readExactly(stream: NodeJS.ReadableStream): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(typeof chunk === 'string' ? Buffer.from(chunk) : chunk)
  return Buffer.concat(chunks).toString('utf8')
}

/** A UTF-8 text file, as it is. */
export async function readTextFile(path: string): Promise<string> {
  const bytes = await readInput(path)
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
