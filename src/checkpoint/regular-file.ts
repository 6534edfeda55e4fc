import { closeSync, constants, fstatSync, openSync, type Stats } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { FileError } from '../errors.js'
import { fileError } from './file-errors.js'

/** Opening a pipe that nobody writes to would wait for ever; with this it opens at once, and is refused. */
const READ = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)

/** Opens a file to read it. What is no regular file (a folder, a pipe, a device without an end) is a FileError. */
export async function openRegular(path: string): Promise<{ handle: FileHandle; size: number }> {
  let handle: FileHandle | null = null
  try {
    handle = await open(path, READ)
    return { handle, size: regularSize(path, await handle.stat()) }
  } catch (error) {
    await handle?.close()
    throw fileError(path, error)
  }
}

/** `openRegular`, for a reader that cannot wait. The descriptor belongs to the caller. */
export function openRegularSync(path: string): { fd: number; size: number } {
  let fd: number | null = null
  try {
    fd = openSync(path, READ)
    return { fd, size: regularSize(path, fstatSync(fd)) }
  } catch (error) {
    if (fd !== null) closeSync(fd)
    throw fileError(path, error)
  }
}

/** The size of a file; throws a FileError where it is no regular one. */
export function regularSize(path: string, stat: Stats): number {
  if (!stat.isFile())
    throw new FileError(path, stat.isDirectory() ? 'is a folder, not a file' : 'is not a regular file')
  return stat.size
}
