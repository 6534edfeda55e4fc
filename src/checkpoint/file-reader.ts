import type { FileHandle } from 'node:fs/promises'
import { FileError } from '../errors.js'
import { fileError } from './file-errors.js'
import { openRegular } from './regular-file.js'

/** A file read at given positions; its size is fixed when it is opened. */
export interface FileReader {
  readonly path: string
  readonly size: number
  /** Of `openRegular`. */
  readonly stamp: string
  /** Fills `into` from `position` on; a file that ends earlier throws a FileError. */
  read(into: Uint8Array, position: number): Promise<void>
  close(): Promise<void>
}

// Linux reads 2 GiB less a page in one call at most; smaller reads also keep other work going.
const MAX_READ = 64 * 1024 * 1024

export async function openReader(path: string): Promise<FileReader> {
  const { handle, size, stamp } = await openRegular(path)
  return {
    path,
    size,
    stamp,
    read: (into, position) => readFully(handle, path, into, position),
    close: () => handle.close(),
  }
}

async function readFully(handle: FileHandle, path: string, into: Uint8Array, position: number): Promise<void> {
  let done = 0
  while (done < into.length) {
    const wanted = Math.min(MAX_READ, into.length - done)
    let bytesRead: number
    try {
      bytesRead = (await handle.read(into, done, wanted, position + done)).bytesRead
    } catch (error) {
      throw fileError(path, error)
    }
    if (bytesRead === 0) throw new FileError(path, `ends at byte ${position + done}, in the middle of its data`)
    done += bytesRead
  }
}
