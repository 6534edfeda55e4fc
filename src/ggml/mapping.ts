import { closeSync } from 'node:fs'
import koffi from 'koffi'
import { checkUnchanged, openRegularSync } from '../checkpoint/regular-file.js'
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

/** A file that weights lie in, as it was when its header was read. */
export interface WeightFile {
  readonly path: string
  readonly bytes: number
  /** Of `openRegularSync`, where it is known. */
  readonly stamp?: string
}

/**
 * Maps a file, or returns null where the platform has no mmap. It must be the file still that its header was read from:
 * touching a page beyond its end ends the process. One that is cut later cannot be guarded against.
 */
export function mapFile(file: WeightFile): Mapping | null {
  if (libc === undefined) libc = loadLibc()
  if (libc === null) return null
  const { mmap, munmap } = libc
  const { path, bytes } = file
  const { fd, ...now } = openRegularSync(path)
  let pointer: Pointer
  try {
    checkUnchanged(path, file, now)
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
