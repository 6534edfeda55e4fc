import { FileError } from '../errors.js'
import { CONFIG_LIMITS, isJsonObject, parseJson } from '../json.js'
import { HubFailure, type Subject } from './hub-failure.js'
import { isCommit, isSafePath } from './hub-id.js'
import { hubGet } from './hub-request.js'
import type { HubSettings } from './hub-settings.js'

/** A file of a repository, as the Hub lists it. */
export interface HubFile {
  /** Checked to stay below its folder. */
  readonly path: string
  readonly size: number
  /** What the Hub gives as its ETag, and the cache names its blob by: SHA-256 of a large file, git's SHA-1 of another. */
  readonly etag: string
  /** Git's SHA-1 of the file, or of what stands for it in git. */
  readonly oid: string
  readonly xetHash?: string
}

export interface AskOptions {
  readonly signal?: AbortSignal | undefined
  readonly tries?: number
}

const MAX_JSON_BYTES = 32 * 1024 * 1024
const MAX_FILES = 100_000
const MAX_PAGES = 1000

/** The commit that a revision is now. Throws HubError. */
export async function commitOf(settings: HubSettings, subject: Subject, options: AskOptions): Promise<string> {
  const url = `${settings.endpoint}/api/models/${subject.repo}/revision/${encodeURIComponent(subject.revision)}`
  const { body } = await getJson(settings, url, subject, options)
  const sha = isJsonObject(body) ? body.sha : undefined
  if (typeof sha === 'string' && isCommit(sha)) return sha
  throw new HubFailure(subject, 'answer', 'the Hub names no commit of it; is HF_ENDPOINT a Hub?')
}

/** All files of a commit. Throws HubError. */
export async function filesOf(
  settings: HubSettings,
  subject: Subject,
  commit: string,
  options: AskOptions,
): Promise<HubFile[]> {
  const files: HubFile[] = []
  let url: string | null = `${settings.endpoint}/api/models/${subject.repo}/tree/${commit}?recursive=true`
  const seen = new Set<string>()
  while (url !== null) {
    if (seen.has(url) || seen.size >= MAX_PAGES) throw endless(subject)
    seen.add(url)
    const page: { body: unknown; next: string | null } = await getJson(settings, url, subject, options)
    if (!Array.isArray(page.body)) throw new HubFailure(subject, 'answer', "the Hub's list of files is no list")
    for (const entry of page.body as unknown[]) {
      const file = parseEntry(subject, entry)
      if (file !== null) files.push(file)
    }
    if (files.length > MAX_FILES) throw endless(subject)
    url = page.next
  }
  return files
}

function endless(subject: Subject): HubFailure {
  return new HubFailure(subject, 'answer', "the Hub's list of files does not end")
}

/** A folder is null, and a file that no system could keep under its name; what no repository can hold is an error. */
function parseEntry(subject: Subject, entry: unknown): HubFile | null {
  const lies = (what: string): HubFailure => new HubFailure(subject, 'answer', `the Hub lists a file ${what}`)
  if (!isJsonObject(entry) || typeof entry.path !== 'string' || typeof entry.type !== 'string')
    throw lies('without path and type')
  if (entry.type !== 'file') return null
  const { path, oid, xetHash } = entry
  if (path.includes('\0') || path.split('/').some((part) => part === '' || part === '.' || part === '..'))
    throw lies('that lies outside of the repository')
  if (!isSafePath(path)) return null
  const lfs = isJsonObject(entry.lfs) ? entry.lfs : null
  const size = lfs?.size ?? entry.size
  const etag = lfs?.oid ?? oid
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) throw lies(`without a size: ${path}`)
  if (typeof etag !== 'string' || !/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(etag)) throw lies(`without a checksum: ${path}`)
  return {
    path,
    size,
    etag,
    oid: typeof oid === 'string' && isCommit(oid) ? oid : etag,
    ...(typeof xetHash === 'string' && /^[0-9a-f]{64}$/.test(xetHash) && { xetHash }),
  }
}

async function getJson(
  settings: HubSettings,
  url: string,
  subject: Subject,
  options: AskOptions,
): Promise<{ body: unknown; next: string | null }> {
  return hubGet(settings, url, {
    ...options,
    subject,
    async use(response, alive) {
      const text = await readText(subject, response, alive)
      if (response.status !== 200 || /^\s*</.test(text)) {
        throw new HubFailure(
          subject,
          'answer',
          `${new URL(settings.endpoint).host} answers with a web page; a proxy or a login stands before it, or HF_ENDPOINT is no Hub`,
        )
      }
      return { body: parse(subject, text), next: nextPage(subject, url, response) }
    },
  })
}

async function readText(subject: Subject, response: Response, alive: (bytes: number) => void): Promise<string> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body ?? []) {
    size += chunk.length
    alive(chunk.length)
    if (size > MAX_JSON_BYTES) throw new HubFailure(subject, 'answer', 'the Hub answers with more than 32 MiB of JSON')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function parse(subject: Subject, text: string): unknown {
  try {
    return parseJson(subject.name, text, "Hub's answer", CONFIG_LIMITS)
  } catch (error) {
    if (!(error instanceof FileError)) throw error
    throw new HubFailure(subject, 'answer', error.message.replace(`${error.path}: `, ''), { cause: error })
  }
}

/**
 * `Link: <address>; rel="next"`: the page after this one. Only its cursor is taken: a mirror may pass on the Hub's own address.
 */
function nextPage(subject: Subject, url: string, { headers }: Response): string | null {
  const [, link] = /<([^>]{1,4096})>\s*;[^,]*\brel="?next"?/.exec(headers.get('link') ?? '') ?? []
  if (link === undefined) return null
  const cursor = URL.canParse(link, url) ? new URL(link, url).searchParams.get('cursor') : null
  if (cursor === null) throw new HubFailure(subject, 'answer', "the Hub's list of files goes on where nobody can tell")
  const next = new URL(url)
  next.searchParams.set('cursor', cursor)
  return next.href
}
