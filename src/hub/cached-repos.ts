import { lstat, readdir, readFile, readlink, rm, stat } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { fileError } from '../checkpoint/file-errors.js'
import { lockHolder } from '../checkpoint/lock-file.js'
import { FileError } from '../errors.js'
import { localFiles, type RepoCache, repoCache, repoOfFolder, snapshotFolder, treePath } from './hub-cache.js'
import { isCommit } from './hub-id.js'

/** A snapshot of a repository in the cache. */
export interface CachedRevision {
  readonly commit: string
  /** Names that stand for it, such as `main`. */
  readonly refs: readonly string[]
  /** Of its files; other snapshots may share some. */
  readonly bytes: number
  readonly files: number
  readonly path: string
}

/** A model of the Hub in the cache, whoever fetched it. */
export interface CachedRepo {
  readonly repo: string
  readonly path: string
  /** What it takes on the disk, each blob once and begun ones too. */
  readonly bytes: number
  /** When a file of it was read last, as far as the system notes that. */
  readonly lastUsed: Date
  readonly revisions: readonly CachedRevision[]
}

/** The models in the cache, last used first. */
export async function listCachedRepos(root: string): Promise<CachedRepo[]> {
  const repos: CachedRepo[] = []
  for (const name of await entriesOf(root)) {
    const repo = repoOfFolder(name)
    if (repo !== null) repos.push(await describeRepo(root, repo))
  }
  return repos.sort((a, b) => b.lastUsed.getTime() - a.lastUsed.getTime())
}

/**
 * Removes a repository from the cache, or one snapshot of it with the blobs that no other has.
 * @returns bytes that were freed
 * @throws FileError where somebody fetches it just now, or the disk refuses
 */
export async function removeCachedRepo(root: string, repo: string, commit?: string): Promise<number> {
  const cache = repoCache(root, repo)
  await refuseBusy(cache, repo)
  try {
    if ((await lstat(cache.folder)).isSymbolicLink()) throw new FileError(cache.folder, 'is a link; it is not removed')
    return commit === undefined ? await removeAll(cache) : await removeSnapshot(cache, commit)
  } catch (error) {
    throw fileError(cache.folder, error)
  }
}

async function describeRepo(root: string, repo: string): Promise<CachedRepo> {
  const cache = repoCache(root, repo)
  const refs = await readRefs(cache)
  const revisions: CachedRevision[] = []
  let loose = 0
  let used = 0
  for (const commit of (await entriesOf(join(cache.folder, 'snapshots'))).filter(isCommit)) {
    const files = await localFiles(cache, commit)
    const path = snapshotFolder(cache, commit)
    for (const file of files) {
      const found = await lstat(join(path, file.path)).catch(() => null)
      if (found?.isFile()) loose += found.size
      if (found?.isFile()) used = Math.max(used, found.atimeMs, found.mtimeMs)
    }
    const named = refs.filter((ref) => ref.commit === commit).map(({ name }) => name)
    const bytes = files.reduce((sum, { size }) => sum + size, 0)
    revisions.push({ commit, refs: named.sort(), bytes, files: files.length, path })
  }
  const blobs = await blobsOf(cache)
  for (const { usedMs } of blobs) used = Math.max(used, usedMs)
  // Of one whose files were listed and never fetched there is only the folder.
  if (used === 0) used = (await lstat(cache.folder).catch(() => null))?.mtimeMs ?? 0
  const bytes = loose + blobs.reduce((sum, blob) => sum + blob.bytes, 0)
  return { repo, path: cache.folder, bytes, lastUsed: new Date(used), revisions }
}

/** What lies in `blobs/`. A blob that is a link is one of huggingface_hub's store for all repositories, and takes no place here. */
async function blobsOf({ folder }: RepoCache): Promise<{ name: string; bytes: number; usedMs: number }[]> {
  const blobs: { name: string; bytes: number; usedMs: number }[] = []
  for (const name of await entriesOf(join(folder, 'blobs'))) {
    const path = join(folder, 'blobs', name)
    const own = await lstat(path).catch(() => null)
    const used = await stat(path).catch(() => own)
    if (own === null) continue
    const bytes = own.isFile() ? own.size : 0
    blobs.push({ name, bytes, usedMs: Math.max(used?.atimeMs ?? 0, used?.mtimeMs ?? 0) })
  }
  return blobs
}

async function readRefs({ folder }: RepoCache): Promise<{ name: string; commit: string; path: string }[]> {
  const root = join(folder, 'refs')
  const entries = await readdir(root, { withFileTypes: true, recursive: true }).catch(() => [])
  const refs: { name: string; commit: string; path: string }[] = []
  for (const entry of entries.filter((entry) => entry.isFile())) {
    const path = join(entry.parentPath, entry.name)
    const commit = (await readFile(path, 'latin1').catch(() => '')).trim()
    if (isCommit(commit)) refs.push({ name: relative(root, path).replaceAll('\\', '/'), commit, path })
  }
  return refs
}

async function refuseBusy({ locks }: RepoCache, repo: string): Promise<void> {
  for (const name of await entriesOf(locks)) {
    if (!name.endsWith('.shoal.lock')) continue
    const holder = lockHolder(join(locks, name))
    if (holder === null) continue
    throw new FileError(repo, `process ${holder.pid ?? ''} is fetching it; stop that first`.replace('  ', ' '))
  }
}

async function removeAll(cache: RepoCache): Promise<number> {
  const freed = await diskBytes(cache.folder)
  await rm(cache.folder, { recursive: true })
  await rm(cache.locks, { recursive: true, force: true })
  return freed
}

async function removeSnapshot(cache: RepoCache, commit: string): Promise<number> {
  const folder = snapshotFolder(cache, commit)
  const mine = await blobsUnder(cache, folder)
  const others = new Set<string>()
  for (const other of await entriesOf(join(cache.folder, 'snapshots'))) {
    if (other === commit) continue
    for (const name of await blobsUnder(cache, join(cache.folder, 'snapshots', other))) others.add(name)
  }
  // Names first: a snapshot that is half gone must not be found by one.
  for (const ref of await readRefs(cache)) if (ref.commit === commit) await rm(ref.path, { force: true })
  let freed = await diskBytes(folder)
  await rm(folder, { recursive: true, force: true })
  await rm(treePath(cache, commit), { force: true })
  await rm(join(cache.folder, '.no_exist', commit), { recursive: true, force: true })
  for (const name of mine) {
    if (others.has(name)) continue
    const path = join(cache.folder, 'blobs', name)
    const found = await lstat(path).catch(() => null)
    if (found?.isFile()) freed += found.size
    await rm(path, { force: true })
  }
  // The last one takes the repository along.
  if ((await entriesOf(join(cache.folder, 'snapshots'))).length === 0) return freed + (await removeAll(cache))
  return freed
}

/** Names of the blobs that links below a folder lead to; a link that leads elsewhere is nobody's. */
async function blobsUnder({ folder }: RepoCache, below: string): Promise<Set<string>> {
  const names = new Set<string>()
  const entries = await readdir(below, { withFileTypes: true, recursive: true }).catch(() => [])
  for (const entry of entries) {
    if (!entry.isSymbolicLink()) continue
    const target = resolve(entry.parentPath, await readlink(join(entry.parentPath, entry.name)))
    if (dirname(target) === resolve(folder, 'blobs')) names.add(basename(target))
  }
  return names
}

/** Of regular files, links not followed. */
async function diskBytes(folder: string): Promise<number> {
  let bytes = 0
  const entries = await readdir(folder, { withFileTypes: true, recursive: true }).catch(() => [])
  for (const entry of entries) {
    if (entry.isFile()) bytes += (await lstat(join(entry.parentPath, entry.name)).catch(() => null))?.size ?? 0
  }
  return bytes
}

async function entriesOf(folder: string): Promise<string[]> {
  return (await readdir(folder).catch((): string[] => [])).sort()
}
