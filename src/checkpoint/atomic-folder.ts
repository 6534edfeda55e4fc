import { existsSync } from 'node:fs'
import { mkdir, readdir, realpath, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { FileError } from '../errors.js'
import { removeLeftovers, renameOver, temporaryPath, track, untrack } from './atomic-file.js'
import { fileError } from './file-errors.js'

/** A folder that appears under its name only when it is complete. */
export interface AtomicFolder {
  /** The name that it will have. */
  readonly path: string
  /** Where its files are written until then. */
  readonly temporary: string
  /** Gives the folder its name, in the place of an older one. */
  commit(): Promise<void>
  /** Removes what was written; nothing after `commit`. */
  abort(): Promise<void>
}

/**
 * Makes a temporary folder beside `path`. What stands under `path` is refused, or with `replace` put aside at `commit`: an
 * empty folder or one that holds a file `marker`, and nothing else.
 */
export async function createAtomicFolder(path: string, replace: { marker: string } | null): Promise<AtomicFolder> {
  const target = resolve(path)
  await checkTarget(path, replace)
  await removeLeftovers(dirname(target), basename(target))
  const temporary = temporaryPath(target)
  try {
    await mkdir(temporary)
  } catch (error) {
    throw fileError(path, error)
  }
  track(temporary)
  let pending = true

  async function abort(): Promise<void> {
    if (!pending) return
    pending = false
    await rm(temporary, { force: true, recursive: true })
    untrack(temporary)
  }

  return {
    path,
    temporary,
    abort,
    async commit() {
      try {
        if (existsSync(target)) await exchange(temporary, target)
        else await renameOver(temporary, target)
        pending = false
        untrack(temporary)
      } catch (error) {
        await abort()
        throw fileError(path, error)
      }
    },
  }
}

/** Told at the start and not after an hour's work. */
async function checkTarget(path: string, replace: { marker: string } | null): Promise<void> {
  const target = resolve(path)
  const parent = await stat(dirname(target)).catch(() => null)
  if (!parent?.isDirectory()) throw new FileError(path, 'its folder does not exist', 'file_missing')
  const found = await stat(target).catch(() => null)
  if (found === null) return
  if (replace === null) throw new FileError(path, 'exists already')
  if (!found.isDirectory()) throw new FileError(path, 'is a file, not a folder')
  if ((await realpath(target)) !== join(await realpath(dirname(target)), basename(target))) {
    throw new FileError(path, 'is a link; it is not replaced')
  }
  const entries = await readdir(target)
  if (entries.length > 0 && !entries.includes(replace.marker)) {
    throw new FileError(path, `is a folder without ${replace.marker}; it is not replaced`)
  }
}

/** No name can be taken from a folder that has files: the old one steps aside first. */
async function exchange(temporary: string, target: string): Promise<void> {
  const aside = temporaryPath(target).replace(/\.tmp$/, '.old')
  await rename(target, aside)
  try {
    await renameOver(temporary, target)
  } catch (error) {
    await rename(aside, target)
    throw error
  }
  await rm(aside, { force: true, recursive: true })
}
