import { statfs } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { weightFiles } from '../checkpoint/sharded.js'
import { FileError, HubError, InputError, ShoalError } from '../errors.js'
import { type Choice, chooseFiles, type Need } from './choose-files.js'
import { download, partialBytes } from './download.js'
import { commitOf, filesOf, type HubFile } from './hub-api.js'
import {
  hasFile,
  type ListedFile,
  linkFile,
  localFiles,
  prepareRepo,
  type RepoCache,
  readRef,
  readTree,
  repoCache,
  snapshotFolder,
  writeRef,
  writeTree,
} from './hub-cache.js'
import type { Subject } from './hub-failure.js'
import { checkRevision, DEFAULT_REVISION, type HubId, isCommit } from './hub-id.js'
import { type HubSettings, hubSettings } from './hub-settings.js'

/** How far a download is. All files are told with `initiate` and their size before the first is fetched. */
export interface DownloadProgress {
  readonly status: 'initiate' | 'download' | 'progress' | 'done'
  readonly stage: 'download'
  /** The repository. */
  readonly name: string
  /** Path of the file in it. */
  readonly file: string
  /** 0 to 100. */
  readonly progress: number
  /** Bytes that are there. */
  readonly loaded: number
  readonly total: number
}

export interface FetchOptions {
  readonly revision?: string
  readonly need?: Need
  readonly progress?: (info: DownloadProgress) => void
  readonly signal?: AbortSignal
  /** Default: what the environment says. */
  readonly settings?: HubSettings
}

/** A model of the Hub on this machine. */
export interface FetchedModel {
  /** The folder of its snapshot, or a GGUF file in it. */
  readonly path: string
  readonly commit: string
  readonly warnings: readonly string[]
}

/** What a name comes to: what it is about, and why the Hub could not be asked, where it could not. */
interface Found {
  readonly settings: HubSettings
  readonly cache: RepoCache
  readonly subject: Subject
  readonly commit: string
  readonly unreached: HubError | null
}

/** One that is listed by the Hub, or one of a snapshot whose list nobody has. */
type AnyFile = HubFile | ListedFile

/**
 * Finds a model of the Hub in the cache, and fetches what is missing. Nothing is asked where the revision is a commit whose files are
 * there, nor offline; else one request tells which commit the revision is now. Where the Hub cannot be asked, what is
 * cached is used, with a warning.
 * @throws HubError, UnsupportedError, InputError, FileError; ShoalError `aborted`
 */
export async function fetchModel(id: HubId, options: FetchOptions = {}): Promise<FetchedModel> {
  const { need = 'all', signal, settings = hubSettings() } = options
  const revision = revisionOf(id, options.revision)
  const cache = repoCache(settings.cache, id.repo)
  const subject: Subject = { name: id.repo, repo: id.repo, revision }
  const asked = await findCommit(settings, cache, subject, signal)
  const { files, found } = await listFiles({ settings, cache, subject, ...asked }, id, need, signal)
  const { commit, unreached } = found
  const choice = choose(found, id, files, need)
  await fetchFiles(found, pick(found, files, choice.index === null ? choice.files : [choice.index]), {
    ...(signal !== undefined && { signal }),
    // The index is small, and names what is to be told.
    ...(choice.index === null && options.progress !== undefined && { progress: options.progress }),
  })
  const folder = snapshotFolder(cache, commit)
  if (choice.index !== null) {
    const shards = (await weightFiles(folder)).map((path) => basename(path))
    await fetchFiles(found, pick(found, files, [...choice.files, ...shards]), options)
  }
  if (!isCommit(revision) && unreached === null && !settings.offline) await writeRef(cache, revision, commit)
  const path = choice.gguf === null ? folder : join(folder, choice.gguf)
  const short = commit.slice(0, 7)
  return {
    path,
    commit,
    warnings: unreached === null ? [] : [`${unreached.message}; what is cached is used (commit ${short})`],
  }
}

function revisionOf(id: HubId, given: string | undefined): string {
  if (given !== undefined && id.revision !== undefined && given !== id.revision)
    throw new InputError(`${id.repo}: the revision is ${id.revision} in its name and ${given} beside it`)
  return checkRevision(given ?? id.revision ?? DEFAULT_REVISION)
}

async function findCommit(
  settings: HubSettings,
  cache: RepoCache,
  subject: Subject,
  signal: AbortSignal | undefined,
): Promise<Pick<Found, 'commit' | 'unreached'>> {
  const { revision } = subject
  if (isCommit(revision)) return { commit: revision, unreached: null }
  const known = await readRef(cache, revision)
  if (settings.offline) {
    if (known !== null) return { commit: known, unreached: null }
    throw offline(subject, 'is')
  }
  try {
    // Where something is cached nobody wants to wait for a Hub that is out of order.
    const commit = await commitOf(settings, subject, { signal, ...(known !== null && { tries: 1 }) })
    return { commit, unreached: null }
  } catch (error) {
    if (known === null || !(error instanceof HubError) || error.problem === 'revision') throw error
    return { commit: known, unreached: error }
  }
}

function offline({ name }: Subject, verb: string): HubError {
  return new HubError(name, 'offline', `${verb} not in the cache, and HF_HUB_OFFLINE says not to ask the Hub`)
}

/** The files of a commit: as listed before, as the Hub lists them, or what the snapshot has where nobody can be asked. */
async function listFiles(
  found: Found,
  id: HubId,
  need: Need,
  signal: AbortSignal | undefined,
): Promise<{ files: AnyFile[]; found: Found }> {
  const { settings, cache, subject, commit, unreached } = found
  const kept = await readTree(cache, commit)
  if (kept !== null) return { files: kept, found }
  const local = await localFiles(cache, commit)
  if (settings.offline || unreached !== null) return { files: local, found }
  // huggingface_hub of before 2026 keeps no lists.
  if (isCommit(subject.revision) && (await isWhole(found, id, local, need))) return { files: local, found }
  try {
    const files = await filesOf(settings, subject, commit, { signal })
    await writeTree(cache, commit, files)
    return { files, found }
  } catch (error) {
    if (local.length === 0 || !(error instanceof HubError)) throw error
    return { files: local, found: { ...found, unreached: error } }
  }
}

/** Whether a snapshot without a list has all that a model of its kind must have. */
async function isWhole(found: Found, id: HubId, local: readonly ListedFile[], need: Need): Promise<boolean> {
  const has = (path: string): boolean => local.some((file) => file.path === path)
  try {
    const choice = chooseFiles(id, local, need)
    if (choice.gguf !== null || need === 'config') return true
    const text = has('tokenizer.json') || (has('vocab.json') && has('merges.txt'))
    if (need === 'tokenizer' || !text) return text
    return (await weightFiles(snapshotFolder(found.cache, found.commit))).every((path) => has(basename(path)))
  } catch (error) {
    if (error instanceof ShoalError) return false
    throw error
  }
}

/** Chooses among the files that are known; where they are only what is cached, what lacks may be at the Hub. */
function choose({ settings, subject, unreached }: Found, id: HubId, files: readonly AnyFile[], need: Need): Choice {
  try {
    return chooseFiles(id, files, need)
  } catch (error) {
    const all = files.every((file) => 'etag' in file) && files.length > 0
    if (all) throw error
    if (unreached !== null) throw unreached
    throw settings.offline ? offline(subject, 'is') : error
  }
}

function pick({ settings, subject, unreached }: Found, files: readonly AnyFile[], paths: readonly string[]): AnyFile[] {
  const byPath = new Map(files.map((file) => [file.path, file]))
  return [...new Set(paths)].map((path) => {
    const file = byPath.get(path)
    if (file !== undefined) return file
    if (unreached !== null) throw unreached
    if (settings.offline) throw offline({ ...subject, name: `${subject.name}/${path}` }, 'is')
    throw new HubError(subject.name, 'file', `has no ${path}, which its index names`)
  })
}

async function fetchFiles(found: Found, files: readonly AnyFile[], options: FetchOptions): Promise<void> {
  const { settings, cache, subject, commit, unreached } = found
  const { progress, signal } = options
  const missing: HubFile[] = []
  for (const file of files) {
    // One without an ETag is known from the disk.
    if ('etag' in file && !(await hasFile(cache, commit, file))) missing.push(file)
  }
  const [first] = missing
  if (first === undefined) return
  if (unreached !== null) throw unreached
  if (settings.offline) throw offline({ ...subject, name: `${subject.name}/${first.path}` }, 'is')
  await prepareRepo(settings.cache, cache)
  await checkSpace(found, missing)
  const tell = (status: DownloadProgress['status'], { path, size }: HubFile, loaded: number): void =>
    progress?.({
      status,
      stage: 'download',
      name: subject.repo,
      file: path,
      progress: size === 0 ? 100 : (100 * loaded) / size,
      loaded,
      total: size,
    })
  for (const file of missing) tell('initiate', file, await partialBytes(cache, file.etag))
  for (const file of missing) {
    tell('download', file, 0)
    const path = file.path.split('/').map(encodeURIComponent).join('/')
    const url = `${settings.endpoint}/${subject.repo}/resolve/${commit}/${path}`
    await download(settings, cache, { ...subject, name: `${subject.repo}/${file.path}` }, file, url, {
      signal,
      onBytes: (loaded) => tell('progress', file, loaded),
      isPlaced: () => hasFile(cache, commit, file),
      place: (fresh) => linkFile(cache, commit, file, { symlinks: settings.symlinks, fresh }),
    })
    tell('done', file, file.size)
  }
}

/** Told before an hour's download and not after it. */
async function checkSpace({ settings, cache, subject }: Found, files: readonly HubFile[]): Promise<void> {
  let bytes = 0
  for (const { etag, size } of files) bytes += Math.max(0, size - (await partialBytes(cache, etag)))
  const disk = await statfs(settings.cache).catch(() => null)
  if (disk === null || disk.blocks === 0) return
  const free = disk.bavail * disk.bsize
  if (bytes <= free) return
  const gigabytes = (count: number): string => `${(count / 1e9).toPrecision(3)} GB`
  const reason = `${subject.name} needs ${gigabytes(bytes)} and ${gigabytes(free)} are free; HF_HUB_CACHE may name a folder on another disk`
  throw new FileError(settings.cache, reason, 'disk_full')
}
