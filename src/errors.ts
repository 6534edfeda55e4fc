/** What went wrong, in one word that programs can test; `message` is one line that a person can act on. */
export type ErrorCode =
  | 'file_missing'
  | 'file_invalid'
  | 'disk_full'
  | 'unsupported'
  | 'spec_invalid'
  | 'input_invalid'
  | 'context_exceeded'
  | 'kv_memory'
  | 'library_missing'
  | 'library_version'
  | 'hub'
  | 'aborted'
  | 'disposed'
  | 'runner_lost'

/** The longest message; with `shoal: ` before it, a line of 300 characters at most. */
export const MAX_MESSAGE = 292
/** What is left of a long path at least: enough for a file's name and the folders around it. */
const SHORT_PATH = 120
/** Control and format characters (line breaks, bidi controls, lone surrogates) would act on a terminal, or show nothing. */
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]/gu

/**
 * Text that may come from a file, as one line of at most `longest` characters: what cannot be printed is escaped as in
 * JavaScript, and what is too long is cut in the middle, where a message that quotes a name has the name.
 */
export function printable(text: string, longest = MAX_MESSAGE): string {
  // Cut before it is escaped, or megabytes would be; and after, since an escape is longer than its character.
  return cutMiddle(cutMiddle(text, 2 * longest).replace(UNPRINTABLE, escapeCharacter), longest)
}

function escapeCharacter(character: string): string {
  if (character === '\n') return '\\n'
  if (character === '\r') return '\\r'
  if (character === '\t') return '\\t'
  return `\\u{${(character.codePointAt(0) as number).toString(16)}}`
}

function cutMiddle(text: string, longest: number): string {
  if (text.length <= longest) return text
  const kept = longest - 1
  let start = Math.floor(kept / 2)
  let end = text.length - (kept - start)
  // Not between the halves of a pair.
  if (isHighSurrogate(text, start - 1)) start--
  if (isHighSurrogate(text, end - 1)) end++
  return `${text.slice(0, start)}…${text.slice(end)}`
}

function isHighSurrogate(text: string, index: number): boolean {
  return (text.charCodeAt(index) & 0xfc00) === 0xd800
}

/** Every error that Shoal throws on purpose. Its message is one printable line of at most `MAX_MESSAGE` characters. */
export class ShoalError extends Error {
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(printable(message), options)
    this.name = new.target.name
    this.code = code
  }
}

/**
 * A file that is missing, damaged or says what cannot be true. The message starts with its path, which is shortened where
 * it would push the reason out; `path` is whole.
 */
export class FileError extends ShoalError {
  readonly path: string

  constructor(
    path: string,
    reason: string,
    code: 'file_missing' | 'file_invalid' | 'disk_full' = 'file_invalid',
    options?: ErrorOptions,
  ) {
    super(code, `${printable(path, pathRoom(reason))}: ${reason}`, options)
    this.path = path
  }
}

function pathRoom(reason: string): number {
  return Math.max(SHORT_PATH, MAX_MESSAGE - 2 - reason.length)
}

/** A model, field, value or device that Shoal knows of but does not implement; never silently ignored. */
export class UnsupportedError extends ShoalError {
  constructor(message: string, options?: ErrorOptions) {
    super('unsupported', message, options)
  }
}

/** A `--depth` SPEC that does not parse or does not fit the model. */
export class SpecError extends ShoalError {
  constructor(message: string, options?: ErrorOptions) {
    super('spec_invalid', message, options)
  }
}

/** An argument of the caller that is out of range or of the wrong kind. */
export class InputError extends ShoalError {
  constructor(
    message: string,
    code: 'input_invalid' | 'context_exceeded' | 'kv_memory' = 'input_invalid',
    options?: ErrorOptions,
  ) {
    super(code, message, options)
  }
}

/**
 * What went wrong between this machine and the Hub. `missing`: no such repository, or none that one may see; `access`: gated, or a
 * token that is not taken; `limit`: too many requests; `network`: no answer, or a broken one; `answer`: one that cannot be
 * right; `offline`: not in the cache, and nothing may be asked.
 */
export type HubProblem = 'missing' | 'revision' | 'file' | 'access' | 'limit' | 'network' | 'answer' | 'offline'

/** A model of the Hub that cannot be had. The message starts with its name. */
export class HubError extends ShoalError {
  readonly problem: HubProblem

  constructor(subject: string, problem: HubProblem, reason: string, options?: ErrorOptions) {
    super('hub', `${printable(subject, pathRoom(reason))}: ${reason}`, options)
    this.problem = problem
  }
}
