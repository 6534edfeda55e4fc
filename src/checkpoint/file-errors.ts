import { FileError, ShoalError } from '../errors.js'

/** What the operating system says about a file, as a FileError that names the file. Other errors come back as they are. */
export function fileError(path: string, error: unknown): Error {
  if (error instanceof ShoalError) return error
  const code = systemCode(error)
  const cause = { cause: error }
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return new FileError(path, 'no such file', 'file_missing', cause)
    case 'EISDIR':
      return new FileError(path, 'is a folder, not a file', 'file_invalid', cause)
    // A socket.
    case 'ENXIO':
      return new FileError(path, 'is not a regular file', 'file_invalid', cause)
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new FileError(path, 'permission denied', 'file_invalid', cause)
    case 'ENOSPC':
    case 'EDQUOT':
      return new FileError(path, 'the disk is full', 'disk_full', cause)
    case 'EFBIG':
      return new FileError(path, 'becomes larger than a file may be here', 'disk_full', cause)
    case 'ENAMETOOLONG':
      return new FileError(path, 'the name is too long', 'file_invalid', cause)
    case 'ELOOP':
      return new FileError(path, 'its links lead in a circle', 'file_invalid', cause)
    case 'EMFILE':
    case 'ENFILE':
      return new FileError(path, 'too many files are open', 'file_invalid', cause)
    case 'EIO':
      return new FileError(path, 'the disk or network does not answer', 'file_invalid', cause)
    case undefined:
      return error instanceof Error ? error : new Error(String(error))
    default:
      return new FileError(path, `cannot be used (${code})`, 'file_invalid', cause)
  }
}

/** `ENOENT` and its like, or undefined where the error is not the operating system's. */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('syscall' in error)) return undefined
  return (error as NodeJS.ErrnoException).code
}
