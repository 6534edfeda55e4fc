import { mkdir, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { FileError } from '../errors.js'
import { fileError, systemCode } from './file-errors.js'

/**
 * Makes a folder and those around it that are missing, one level at a time: `mkdir` of Node 20 with `recursive` never
 * ends where a folder is there but takes no others, as /proc. Errors: FileError with the path that is in the way.
 */
export async function makeFolder(path: string): Promise<void> {
  const missing: string[] = []
  for (let folder = resolve(path); !(await isFolder(folder)); folder = dirname(folder)) {
    if (dirname(folder) === folder) throw new FileError(folder, 'no such drive', 'file_missing')
    missing.push(folder)
  }
  for (const folder of missing.toReversed()) await makeOne(folder)
}

async function makeOne(folder: string): Promise<void> {
  try {
    await mkdir(folder)
  } catch (error) {
    const code = systemCode(error)
    // Another process was faster; or it is a link that leads nowhere.
    if (code === 'EEXIST' && (await isFolder(folder))) return
    if (code !== 'EEXIST' && code !== 'ENOENT') throw fileError(folder, error)
    throw new FileError(folder, 'cannot be made a folder', 'file_invalid', { cause: error })
  }
}

/** False where there is nothing; throws a FileError where there is something else. */
async function isFolder(path: string): Promise<boolean> {
  try {
    if ((await stat(path)).isDirectory()) return true
  } catch (error) {
    const code = systemCode(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') return false
    throw fileError(path, error)
  }
  throw new FileError(path, 'is not a folder')
}
