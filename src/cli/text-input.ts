import { readInput, readStream } from '../checkpoint/text-file.js'
import { firstInvalidUtf8 } from '../checkpoint/utf8.js'
import type { Model } from '../engine/api.js'
import { promptTokens } from '../engine/prompt-tokens.js'
import { FileError, UnsupportedError } from '../errors.js'
import { type Cli, note } from './cli.js'

/** All of stdin as text, without the line break at its end. Throws FileError for bytes that are not UTF-8. */
export async function readAll(cli: Cli): Promise<string> {
  return asWritten(await readExactly(cli)).replace(/\n$/, '')
}

/** All of stdin as it is, a byte-order mark and line ends included. Throws FileError for bytes that are not UTF-8. */
export async function readExactly(cli: Cli): Promise<string> {
  if (cli.stdin.isTTY === true) note(cli, 'reading text from the terminal; Ctrl-D ends it')
  return decode(await readStream('stdin', cli.stdin, cli.signal), 'stdin')
}

/** A UTF-8 text file with `\n` at the end of its lines. Throws FileError. */
export async function readTextFile(path: string): Promise<string> {
  return asWritten(decode(await readInput(path), path))
}

/** The text that an option names: of a file, or of stdin where it says `-`. Throws FileError. */
export async function readGivenText(cli: Cli, path: string): Promise<string> {
  return path === '-' ? asWritten(await readExactly(cli)) : readTextFile(path)
}

/** A line of a stream is a message or a command: one that is longer has no end, as /dev/zero has none. */
const LONGEST_LINE = 1024 * 1024

/**
 * The lines of a stream as they come, without their ends and without a byte-order mark at the start.
 * @throws FileError for bytes that are not UTF-8, and for a line of more than 1 MiB
 */
export async function* readLines(stream: NodeJS.ReadableStream): AsyncGenerator<string> {
  let offset = 0
  let parts: Buffer[] = []
  let size = 0
  const add = (part: Buffer): void => {
    size += part.length
    if (size > LONGEST_LINE) throw new FileError('stdin', `a line has more than ${LONGEST_LINE} bytes`)
    parts.push(part)
  }
  const take = (): string => {
    const text = decode(Buffer.concat(parts), 'stdin', offset).replace(/\r$/, '')
    const line = offset === 0 ? text.replace(/^\ufeff/, '') : text
    // The line break counts too.
    offset += size + 1
    parts = []
    size = 0
    return line
  }
  for await (const chunk of stream) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk
    let from = 0
    for (let end = bytes.indexOf(0x0a); end >= 0; end = bytes.indexOf(0x0a, from)) {
      add(bytes.subarray(from, end))
      yield take()
      from = end + 1
    }
    add(bytes.subarray(from))
  }
  if (size > 0) yield take()
}

/** @param offset where the bytes begin in their source */
function decode(bytes: Buffer, source: string, offset = 0): string {
  const invalid = firstInvalidUtf8(bytes)
  if (invalid >= 0) {
    const byte = bytes[invalid]!.toString(16).padStart(2, '0')
    throw new FileError(source, `is not UTF-8 text: byte ${offset + invalid} is 0x${byte}`)
  }
  return bytes.toString('utf8')
}

/** A byte-order mark and the carriage returns of CRLF are the file's way of writing, and no part of the text. */
function asWritten(text: string): string {
  return text.replace(/^\ufeff/, '').replaceAll('\r\n', '\n')
}

/** Token ids of a text, with what the tokenizer adds: as a prompt has them. */
export function encodeText(cli: Cli, model: Model, text: string): number[] {
  if (model.tokenizer === null) {
    throw model.tokenizerError ?? new UnsupportedError(`${model.name} has no tokenizer; give token ids with --tokens`)
  }
  const { ids, warnings } = promptTokens(model.tokenizer, text)
  for (const warning of warnings) note(cli, `warning: ${warning}`)
  return ids
}
