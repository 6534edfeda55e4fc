import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { renameOver } from '../checkpoint/atomic-file.js'
import { fileError } from '../checkpoint/file-errors.js'
import { tryLock } from '../checkpoint/lock-file.js'
import { ShoalError } from '../errors.js'
import { checkBeginning } from './file-beginning.js'
import type { HubFile } from './hub-api.js'
import { blobPath, hasBlob, partialPath, type RepoCache } from './hub-cache.js'
import { HubFailure, type Subject } from './hub-failure.js'
import { hubGet } from './hub-request.js'
import type { HubSettings } from './hub-settings.js'
import { PartialBlob } from './partial-blob.js'

export interface DownloadOptions {
  readonly signal?: AbortSignal | undefined
  /** Called with the bytes that are there. */
  readonly onBytes: (loaded: number) => void
  /** Whether the file has its place already. */
  readonly isPlaced: () => Promise<boolean>
  /** Gives the file its place; `fresh` where its blob came just now. */
  readonly place: (fresh: boolean) => Promise<void>
}

const LOCK_POLL_MS = 200

/**
 * Fetches a blob into the cache and puts it where it belongs. What an earlier attempt left, of this process or another, is gone on
 * with; the file gets its name when its size and checksum are right. One process does so at a time, others wait for it: without
 * links the blob is gone when it has its place.
 * @throws HubError, FileError; ShoalError `aborted`
 */
export async function download(
  settings: HubSettings,
  cache: RepoCache,
  subject: Subject,
  file: HubFile,
  url: string,
  options: DownloadOptions,
): Promise<void> {
  const unlock = await lockBlob(cache, subject, file, options)
  try {
    if (await options.isPlaced()) return
    const fresh = !(await hasBlob(cache, file))
    if (fresh) await fetchBlob(settings, cache, subject, file, url, options)
    await options.place(fresh)
  } catch (error) {
    throw fileError(blobPath(cache, file.etag), error)
  } finally {
    unlock()
  }
}

async function fetchBlob(
  settings: HubSettings,
  cache: RepoCache,
  subject: Subject,
  file: HubFile,
  url: string,
  options: DownloadOptions,
): Promise<void> {
  const path = partialPath(cache, file.etag)
  const partial = await PartialBlob.open(path, file, options.signal)
  try {
    await complete(settings, subject, file, url, partial, options)
    await partial.sync()
  } finally {
    await partial.close()
  }
  await renameOver(path, blobPath(cache, file.etag))
}

/** How much of a blob is there from earlier attempts. */
export async function partialBytes(cache: RepoCache, etag: string): Promise<number> {
  return (await stat(partialPath(cache, etag)).catch(() => null))?.size ?? 0
}

async function lockBlob(
  cache: RepoCache,
  subject: Subject,
  { etag }: HubFile,
  { signal, onBytes }: DownloadOptions,
): Promise<() => void> {
  const path = join(cache.locks, `${etag}.shoal.lock`)
  for (;;) {
    let taken: ReturnType<typeof tryLock>
    try {
      taken = tryLock(path)
    } catch (error) {
      throw fileError(path, error)
    }
    if (typeof taken === 'function') return taken
    onBytes(await partialBytes(cache, etag))
    await sleep(LOCK_POLL_MS, undefined, { signal }).catch((error: unknown) => {
      throw new ShoalError('aborted', `${subject.name}: the download was stopped`, { cause: error })
    })
  }
}

/** Fetches what is missing and checks the whole; what an earlier attempt left may be of other content, and then goes. */
async function complete(
  settings: HubSettings,
  subject: Subject,
  file: HubFile,
  url: string,
  partial: PartialBlob,
  options: DownloadOptions,
): Promise<void> {
  for (;;) {
    const resumed = partial.size > 0
    if (partial.size < file.size) await fetchRest(settings, subject, file, url, partial, options)
    if (partial.digest() === file.etag) return
    await partial.clear()
    if (!resumed) {
      throw new HubFailure(
        subject,
        'answer',
        'what came has another checksum than the Hub lists; try again, or without a mirror',
      )
    }
  }
}

async function fetchRest(
  settings: HubSettings,
  subject: Subject,
  file: HubFile,
  url: string,
  partial: PartialBlob,
  { signal, onBytes }: DownloadOptions,
): Promise<void> {
  onBytes(partial.size)
  let furthest = partial.size
  await hubGet(settings, url, {
    subject,
    signal,
    readMs: settings.readMs,
    headers: () => (partial.size > 0 ? { range: `bytes=${partial.size}-` } : {}),
    async use(response, alive) {
      const goesOn = response.status === 206 && rangeOf(response, file) === partial.size
      // The server sends all of it, or nothing since it knows of no such range.
      if (partial.size > 0 && !goesOn) await partial.clear()
      if (response.status === 416 || (response.status === 206 && !goesOn)) {
        throw new HubFailure(subject, 'network', 'the Hub sends another part than was asked for', { again: true })
      }
      for await (const chunk of response.body ?? []) {
        if (partial.size === 0) checkBeginning(subject, file, chunk, response.headers.get('content-type') ?? '')
        if (partial.size + chunk.length > file.size) {
          await partial.clear()
          throw new HubFailure(subject, 'answer', `more comes than the ${file.size} bytes that the Hub lists`)
        }
        await partial.append(chunk)
        // A server that begins anew each time brings nothing.
        alive(Math.max(0, partial.size - furthest))
        furthest = Math.max(furthest, partial.size)
        onBytes(partial.size)
      }
      if (partial.size < file.size) {
        const reason = `broke off after ${partial.size} of ${file.size} bytes; the same command goes on from there`
        throw new HubFailure(subject, 'network', reason, { again: true })
      }
    },
  })
}

/** Where the part of a 206 begins; null where it is no part of this file. */
function rangeOf({ headers }: Response, { size }: HubFile): number | null {
  const [, start, total] = /^bytes (\d{1,15})-\d{1,15}\/(\d{1,15}|\*)$/.exec(headers.get('content-range') ?? '') ?? []
  return start === undefined || (total !== '*' && Number(total) !== size) ? null : Number(start)
}
