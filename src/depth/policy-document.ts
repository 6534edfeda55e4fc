import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs'
import { FileError } from '../errors.js'
import { parseJson } from '../json.js'
import * as json from './json-field.js'

/** The largest that is believed: an RBF SVM of 100,000 support vectors takes about 10 MB. */
const MAX_BYTES = 64 * 1024 * 1024
/** Opening a pipe that nobody writes to would wait for ever; with this it opens at once, and is refused. */
const READ = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)
const DATE = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/

/** The text of a policy file. Throws FileError with the path. */
export function readPolicyText(path: string): string {
  return withPolicyFile(path, (fd, { size }) => {
    if (size > MAX_BYTES) throw new FileError(path, `is too large for a policy (${size} bytes)`)
    return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(fd))
  })
}

/** What tells a file from another one. */
export interface FileStat {
  readonly dev: number
  readonly ino: number
  /** Bytes. */
  readonly size: number
  readonly mtimeMs: number
}

/** Opens a file that a SPEC names for as long as `use` takes. Throws FileError with the path. */
export function withPolicyFile<T>(path: string, use: (fd: number, stat: FileStat) => T): T {
  let fd: number | null = null
  try {
    fd = openSync(path, READ)
    const stat = fstatSync(fd)
    if (stat.isDirectory()) throw new FileError(path, 'is a folder, not a file')
    // A device may have no end.
    if (!stat.isFile()) throw new FileError(path, 'is not a regular file')
    return use(fd, stat)
  } catch (error) {
    if (error instanceof FileError) throw error
    if (error instanceof TypeError) throw new FileError(path, 'is not UTF-8 text', 'file_invalid', { cause: error })
    const code = (error as NodeJS.ErrnoException).code ?? String(error)
    const cause = { cause: error }
    if (code === 'ENOENT' || code === 'ENOTDIR') throw new FileError(path, 'no such file', 'file_missing', cause)
    if (code === 'EISDIR') throw new FileError(path, 'is a folder, not a file', 'file_invalid', cause)
    throw new FileError(path, `cannot be read (${code})`, 'file_invalid', cause)
  } finally {
    if (fd !== null) closeSync(fd)
  }
}

/** What every policy file begins with, whatever its kind. */
export interface PolicyDocument {
  readonly root: json.Field
  readonly kind: unknown
}

/** Parses a policy's text and checks its format and version. */
export function parsePolicyDocument(path: string, contents: string): PolicyDocument {
  const value = parseJson(path, contents, 'policy')
  // Said before anything else, so that another JSON file is not told that it lacks fields.
  if (typeof value !== 'object' || value === null || (value as { format?: unknown }).format !== 'shoal-policy') {
    throw new FileError(path, 'is not a policy file (field format must be "shoal-policy")')
  }
  const { version, kind } = value as { version?: unknown; kind?: unknown }
  if (version !== 1) {
    throw new FileError(path, 'field version must be 1: other versions of policy files are not known here')
  }
  return { root: { file: path, name: '', value }, kind }
}

/** Throws FileError where a policy is of another kind than the SPEC that names its file takes. */
export function requireKind(path: string, kind: unknown, wanted: string): void {
  if (kind === wanted) return
  throw new FileError(
    path,
    `holds a policy of kind ${JSON.stringify(kind ?? null)}, and ${wanted}: takes one of kind "${wanted}"`,
  )
}

/** The model that a policy was made for. */
export interface PolicyModel {
  readonly name: string | null
  /** Identifies the weights; null where they were not known. */
  readonly fingerprint: string | null
  readonly layers: number
}

export function readPolicyModel(field: json.Field): PolicyModel {
  const model = json.fieldsOf(field, ['name', 'fingerprint', 'layers'])
  const layers = json.whole(model('layers'), 2, 100_000)
  return {
    name: json.orNull(model('name'), json.text),
    fingerprint: json.orNull(model('fingerprint'), json.text),
    layers,
  }
}

/** ISO 8601, UTC. */
export function readCreated(field: json.Field): string {
  const created = json.text(field)
  if (!DATE.test(created) || Number.isNaN(Date.parse(created))) {
    throw json.wrong(field, 'a date such as "2026-01-31T12:00:00Z"')
  }
  return created
}
