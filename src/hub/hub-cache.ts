import { existsSync } from 'node:fs'
import { copyFile, mkdir, readdir, readFile, rename, rm, stat, symlink } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { temporaryPath, writeAtomicFile } from '../checkpoint/atomic-file.js'
import { fileError, systemCode } from '../checkpoint/file-errors.js'
import { makeFolder } from '../checkpoint/make-folder.js'
import { readJsonFile } from '../checkpoint/text-file.js'
import { FileError } from '../errors.js'
import { CONFIG_LIMITS, isJsonObject } from '../json.js'
import type { HubFile } from './hub-api.js'
import { isCommit, isSafePath } from './hub-id.js'

/**
 * A repository in huggingface_hub's cache: `blobs/` by ETag, `snapshots/COMMIT/` with links to them, `refs/REVISION` with a
 * commit, `trees/COMMIT.json` with the list of a commit's files.
 */
export interface RepoCache {
  readonly folder: string
  /** Where the locks of its blobs are. */
  readonly locks: string
}

/** A file of which no more is known than that it is there. */
export type ListedFile = Pick<HubFile, 'path' | 'size'>

/** Of a cache folder, so that programs which make backups leave it out: https://bford.info/cachedir/ */
const CACHE_TAG = 'Signature: 8a477f597d28d172789f06886806bc55\n'
const TREE_VERSION = 1
/** Nobody's snapshot has folders in folders in folders without end. */
const MAX_DEPTH = 32

export function repoCache(root: string, repo: string): RepoCache {
  const name = ['models', ...repo.split('/')].join('--')
  return { folder: join(root, name), locks: join(root, '.locks', name) }
}

/** `org/name` of a folder of the cache; null where it is none of a model. */
export function repoOfFolder(name: string): string | null {
  const [, repo] = /^models--([\w.-]+)$/.exec(name) ?? []
  return repo?.replace('--', '/') ?? null
}

export function snapshotFolder({ folder }: RepoCache, commit: string): string {
  return join(folder, 'snapshots', commit)
}

export function blobPath({ folder }: RepoCache, etag: string): string {
  return join(folder, 'blobs', etag)
}

/** What is there of a blob so far. Its name is Shoal's own: others write theirs without knowing of its lock. */
export function partialPath(cache: RepoCache, etag: string): string {
  return `${blobPath(cache, etag)}.shoal.incomplete`
}

/** Makes the folders of a repository. Throws FileError. */
export async function prepareRepo(root: string, cache: RepoCache): Promise<void> {
  try {
    await makeFolder(root)
    for (const folder of [join(cache.folder, 'blobs'), join(cache.folder, 'snapshots'), cache.locks]) {
      await makeFolder(folder)
    }
  } catch (error) {
    if (!(error instanceof FileError)) throw error
    const reason = error.message.replace(`${error.path}: `, '')
    throw new FileError(error.path, `${reason}; HF_HUB_CACHE may name another cache folder`)
  }
  const tag = join(root, 'CACHEDIR.TAG')
  if (!existsSync(tag)) await writeAtomicFile(tag, CACHE_TAG).catch(() => undefined)
}

/** The commit that a revision was when it was last asked for; null where it never was. */
export async function readRef({ folder }: RepoCache, revision: string): Promise<string | null> {
  const text = await readFile(join(folder, 'refs', ...revision.split('/')), 'latin1').catch(() => '')
  const commit = text.slice(0, 100).trim()
  return isCommit(commit) ? commit : null
}

/** Where it cannot be kept, it is asked for again. */
export async function writeRef(cache: RepoCache, revision: string, commit: string): Promise<void> {
  if ((await readRef(cache, revision)) === commit) return
  const path = join(cache.folder, 'refs', ...revision.split('/'))
  await makeFolder(dirname(path))
    .then(() => writeAtomicFile(path, commit))
    .catch(() => undefined)
}

/** Whether a snapshot has a file whole. */
export async function hasFile(cache: RepoCache, commit: string, { path, size }: ListedFile): Promise<boolean> {
  const found = await stat(join(snapshotFolder(cache, commit), path)).catch(() => null)
  return found?.isFile() === true && found.size === size
}

/** Whether a blob is there whole, whoever fetched it. */
export async function hasBlob(cache: RepoCache, { etag, size }: HubFile): Promise<boolean> {
  const found = await stat(blobPath(cache, etag)).catch(() => null)
  return found?.isFile() === true && found.size === size
}

/** Files of a snapshot as they lie on the disk. */
export async function localFiles(cache: RepoCache, commit: string): Promise<ListedFile[]> {
  const root = snapshotFolder(cache, commit)
  const files: ListedFile[] = []
  const walk = async (below: string, depth: number): Promise<void> => {
    const entries = await readdir(join(root, below), { withFileTypes: true }).catch(() => [])
    for (const entry of entries) {
      const path = below === '' ? entry.name : `${below}/${entry.name}`
      if (entry.isDirectory()) {
        if (depth < MAX_DEPTH) await walk(path, depth + 1)
        continue
      }
      const found = await stat(join(root, path)).catch(() => null)
      if (found?.isFile() && isSafePath(path)) files.push({ path, size: found.size })
    }
  }
  await walk('', 0)
  return files
}

/**
 * Puts a blob under its name in a snapshot: as a link, and where links cannot be made as the file itself.
 * @param fresh where no other snapshot can have the blob yet
 */
export async function linkFile(
  cache: RepoCache,
  commit: string,
  file: HubFile,
  { symlinks, fresh }: { symlinks: boolean; fresh: boolean },
): Promise<void> {
  const blob = blobPath(cache, file.etag)
  const path = join(snapshotFolder(cache, commit), file.path)
  const temporary = temporaryPath(path)
  try {
    await mkdir(dirname(path), { recursive: true })
    if (!symlinks || !(await makeLink(relative(dirname(path), blob), temporary))) {
      if (fresh) await rename(blob, temporary)
      else await copyFile(blob, temporary)
    }
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined)
    // Without links another process may have moved the blob to where it belongs.
    if (await hasFile(cache, commit, file)) return
    throw fileError(path, error)
  }
}

/** False where the system, or the user's rights, have no links. */
async function makeLink(target: string, path: string): Promise<boolean> {
  try {
    await symlink(target, path)
    return true
  } catch (error) {
    if (['EPERM', 'EACCES', 'ENOSYS', 'ENOTSUP', 'EINVAL'].includes(systemCode(error) ?? '')) return false
    throw error
  }
}

/** The files of a commit, where they were listed before. What is damaged is as good as nothing. */
export async function readTree(cache: RepoCache, commit: string): Promise<HubFile[] | null> {
  try {
    const { format_version: version, files } = await readJsonFile(treePath(cache, commit), CONFIG_LIMITS)
    if (version !== TREE_VERSION || !isJsonObject(files)) return null
    return Object.entries(files).map(([path, entry]) => {
      if (!isJsonObject(entry) || !isSafePath(path)) throw new FileError(path, 'is no file of a tree')
      const size = entry.lfs_size ?? entry.size
      const oid = entry.blob_id
      const etag = entry.lfs_sha256 ?? oid
      if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0 || !isHash(etag) || !isHash(oid))
        throw new FileError(path, 'has no size or checksum')
      return { path, size, etag, oid, ...(isHash(entry.xet_hash) && { xetHash: entry.xet_hash }) }
    })
  } catch {
    return null
  }
}

function isHash(value: unknown): value is string {
  return typeof value === 'string' && /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(value)
}

/** Where it cannot be kept, it is listed again. */
export async function writeTree(cache: RepoCache, commit: string, files: readonly HubFile[]): Promise<void> {
  const entries = files.map(({ path, size, etag, oid, xetHash }) => [
    path,
    {
      size,
      blob_id: oid,
      ...(etag.length === 64 && { lfs_sha256: etag, lfs_size: size }),
      ...(xetHash !== undefined && { xet_hash: xetHash }),
    },
  ])
  const document = { format_version: TREE_VERSION, files: Object.fromEntries(entries) as object }
  const path = treePath(cache, commit)
  await makeFolder(dirname(path))
    .then(() => writeAtomicFile(path, JSON.stringify(document, null, 1)))
    .catch(() => undefined)
}

export function treePath({ folder }: RepoCache, commit: string): string {
  return join(folder, 'trees', `${commit}.json`)
}
