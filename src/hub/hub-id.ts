import { InputError, printable } from '../errors.js'
import { hubEndpoint } from './hub-settings.js'

/** A model on the Hub: a repository, and where it is said which of its files and which revision. */
export interface HubId {
  /** `org/name`; one word for the oldest repositories. */
  readonly repo: string
  /** A branch, a tag, a commit, `refs/pr/3`. */
  readonly revision?: string
  /** Of a quantisation, as it stands in the name of a GGUF file: `Q4_K_M`. */
  readonly tag?: string
  /** Path of a GGUF file in the repository. */
  readonly file?: string
}

/** The revision that is meant where none is named. */
export const DEFAULT_REVISION = 'main'

const FORMS = 'org/name, org/name:Q4_K_M or org/name/file.gguf'
const SITES = ['huggingface.co', 'hf.co']
const WORD = /^\w(?:[\w.-]{0,94}\w)?$/
const SPECIAL_REF = /^refs\/(?:pr\/\d+|convert\/[\w.-]+)(?=\/|$)/

/**
 * What a name says of the Hub: `org/name`, `org/name:TAG`, `org/name/file.gguf`, each also behind `hf:` or `hf://`, where
 * `@REVISION` may follow the repository, or the address of a page of the Hub. Null where it has another form.
 * @throws InputError for what begins like one of these and is none
 */
export function parseHubId(text: string): HubId | null {
  const url = /^https?:\/\/([^/]+)\/(.*)$/.exec(text)
  if (url !== null) return parseAddress(text, url[1]!, url[2]!)
  const prefixed = /^hf:(?:\/\/)?(?:models\/(?=[^/]+\/))?(.*)$/.exec(text)
  const id = parsePath(prefixed?.[1] ?? text, prefixed !== null)
  if (id === null && prefixed !== null) throw malformed(text)
  return id
}

/** A name of a branch, tag or commit that may become part of a path and of an address. */
export function isRevision(text: string): boolean {
  return text.length <= 200 && text.split('/').every((part) => /^[\w@+-][\w.@+-]*$/.test(part) && !part.includes('..'))
}

export function isCommit(text: string): boolean {
  return /^[0-9a-f]{40}$/.test(text)
}

/** @throws InputError */
export function checkRevision(revision: string): string {
  if (typeof revision === 'string' && isRevision(revision)) return revision
  throw new InputError(`${printable(String(revision), 60)} is no revision; one is a branch, tag or commit such as main`)
}

function parsePath(path: string, prefixed: boolean): HubId | null {
  const [before, tag, more] = path.split(':')
  if (before === undefined || more !== undefined || (tag !== undefined && !/^[\w.-]{1,80}$/.test(tag))) return null
  const parts = before.split('/')
  const at = prefixed ? before.indexOf('@') : -1
  if (at >= 0) {
    const repo = before.slice(0, at)
    const { revision, rest } = splitRevision(before.slice(at + 1))
    if (!isRepo(repo) || !isRevision(revision)) return null
    return { repo, revision, ...fileOrTag(rest, tag) }
  }
  // A GGUF file in a folder is a path on this machine; one word is a file, a folder or a prompt.
  if (parts.length === 1 && prefixed && isRepo(before)) return { repo: before, ...fileOrTag('', tag) }
  if (parts.length === 2 && isRepo(before) && (prefixed || !/\.(gguf|json|safetensors|jsonl|txt)$/i.test(before)))
    return { repo: before, ...fileOrTag('', tag) }
  const repo = parts.slice(0, 2).join('/')
  const file = parts.slice(2).join('/')
  if (parts.length < 3 || !isRepo(repo) || tag !== undefined || !isGgufPath(file)) return null
  return { repo, file }
}

function parseAddress(text: string, host: string, path: string): HubId {
  if (![...SITES, new URL(hubEndpoint()).host].includes(host)) {
    throw new InputError(
      `${printable(text, 120)}: only addresses of the Hub are taken, such as https://${SITES[0]}/org/name`,
    )
  }
  const parts = path
    .replace(/[?#].*$/, '')
    .split('/')
    .filter((part) => part !== '')
  const repo = parts.slice(0, 2).join('/')
  const [action, ...rest] = parts.slice(2)
  if (parts.length < 2 || !isRepo(repo)) throw malformed(text)
  if (action === undefined) return { repo }
  if (!['blob', 'resolve', 'tree', 'raw'].includes(action) || rest.length === 0) throw malformed(text)
  let revision: string
  let file: string
  try {
    const named = splitRevision(rest.join('/'))
    revision = decodeURIComponent(named.revision)
    file = decodeURIComponent(named.rest)
  } catch {
    throw malformed(text)
  }
  if (!isRevision(revision) || (file !== '' && !isGgufPath(file))) throw malformed(text)
  return { repo, revision, ...(file !== '' && { file }) }
}

/** `refs/pr/3` has slashes of its own; in other revisions they are written %2F. */
function splitRevision(text: string): { revision: string; rest: string } {
  const [special] = SPECIAL_REF.exec(text) ?? []
  const [first = ''] = text.split('/')
  const revision = special ?? first
  return { revision: special ?? first.replaceAll(/%2F/gi, '/'), rest: text.slice(revision.length + 1) }
}

function fileOrTag(file: string, tag: string | undefined): Pick<HubId, 'file' | 'tag'> {
  return { ...(file !== '' && { file }), ...(tag !== undefined && { tag }) }
}

function isRepo(text: string): boolean {
  const parts = text.split('/')
  return (
    parts.length <= 2 &&
    parts.every((part) => WORD.test(part)) &&
    !text.includes('--') &&
    !text.includes('..') &&
    !text.endsWith('.git')
  )
}

function isGgufPath(text: string): boolean {
  return /\.gguf$/i.test(text) && isSafePath(text)
}

/** A path in a repository that stays below the folder that it is put into, on every system. */
export function isSafePath(text: string): boolean {
  return (
    text.length <= 1024 &&
    !/[\p{Cc}\\:*?"<>|]/u.test(text) &&
    // Windows takes dots and spaces from the end of a name, so that ".. " would be the folder above.
    text.split('/').every((part) => part !== '' && !/[. ]$/.test(part) && Buffer.byteLength(part) <= 255)
  )
}

function malformed(text: string): InputError {
  return new InputError(`${printable(text, 120)}: a model on the Hub is ${FORMS}`)
}
