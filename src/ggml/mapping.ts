import { closeSync } from 'node:fs'
import koffi from 'koffi'
import { openRegularSync } from '../checkpoint/regular-file.js'
import { FileError } from '../errors.js'
import type { Pointer } from './library.js'

const PROT_READ = 1
const MAP_PRIVATE = 2

/** A file in memory, read-only, page by page as it is touched. */
export interface Mapping {
  readonly pointer: Pointer
  readonly bytes: number
  dispose(): void
}

let libc: { mmap: (...a: unknown[]) => Pointer; munmap: (...a: unknown[]) => number } | null | undefined

/**
 * Maps a file of `bytes` bytes, or returns null where the platform has no mmap. The file must have that size still: touching
 * a page beyond its end ends the process. One that is cut later cannot be guarded against.
 */
export function mapFile(path: string, bytes: number): Mapping | null {
  if (libc === undefined) libc = loadLibc()
  if (libc === null) return null
  const { mmap, munmap } = libc
  const { fd, size } = openRegularSync(path)
  let pointer: Pointer
  try {
    if (size < bytes) throw new FileError(path, 'was cut since its header was read')
    pointer = BigInt(mmap(null, bytes, PROT_READ, MAP_PRIVATE, fd, 0))
  } finally {
    closeSync(fd)
  }
  if (pointer === 0xffffffffffffffffn || pointer === -1n) throw new FileError(path, 'cannot be mapped into memory')
  let mapped = true
  return {
    pointer,
    bytes,
    dispose() {
      if (!mapped) return
      mapped = false
      munmap(pointer, bytes)
    },
  }
}

function loadLibc() {
  const name = process.platform === 'darwin' ? 'libSystem.B.dylib' : process.platform === 'linux' ? 'libc.so.6' : null
  if (name === null) return null
  try {
    const lib = koffi.load(name)
    return {
      mmap: lib.func('void *mmap(void *address, size_t length, int protection, int flags, int fd, int64_t offset)'),
      munmap: lib.func('int munmap(void *address, size_t length)'),
    }
  } catch {
    // musl and others: the file is read instead.
    return null
  }
}
