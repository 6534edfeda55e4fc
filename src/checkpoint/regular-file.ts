import { closeSync, constants, fstatSync, openSync, type Stats } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { FileError } from '../errors.js'
import { fileError } from './file-errors.js'

/** Opening a pipe that nobody writes to would wait for ever; with this it opens at once, and is refused. */
const READ = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)

/**
 * Opens a file to read it. What is no regular file (a folder, a pipe, a device without an end) is a FileError. `stamp`
 * differs where the file was written to, or another has taken its place.
 */
export async function openRegular(path: string): Promise<{ handle: FileHandle; size: number; stamp: string }> {
  let handle: FileHandle | null = null
  try {
    handle = await open(path, READ)
    const stat = await handle.stat()
    return { handle, size: regularSize(path, stat), stamp: stampOf(stat) }
  } catch (error) {
    await handle?.close()
    throw fileError(path, error)
  }
}

/** `openRegular`, for a reader that cannot wait. The descriptor belongs to the caller. */
export function openRegularSync(path: string): { fd: number; size: number; stamp: string } {
  let fd: number | null = null
  try {
    fd = openSync(path, READ)
    const stat = fstatSync(fd)
    return { fd, size: regularSize(path, stat), stamp: stampOf(stat) }
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

function stampOf({ dev, ino, size, mtimeMs }: Stats): string {
  return [dev, ino, size, mtimeMs].join(' ')
}

/**
 * Refuses a file that is not the one any more that its header was read from; without a stamp only one that is shorter.
 * @throws FileError
 */
export function checkUnchanged(
  path: string,
  before: { readonly bytes: number; readonly stamp?: string },
  now: { readonly size: number; readonly stamp: string },
): void {
  if (now.size < before.bytes) throw new FileError(path, 'was cut since its header was read')
  if (before.stamp !== undefined && now.stamp !== before.stamp) {
    throw new FileError(path, 'was changed since its header was read; try again')
  }
}
