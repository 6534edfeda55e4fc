import { createHash, type Hash } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, open, rm } from 'node:fs/promises'
import { fileError } from '../checkpoint/file-errors.js'
import { regularSize } from '../checkpoint/regular-file.js'
import { FileError, ShoalError } from '../errors.js'
import type { HubFile } from './hub-api.js'

const CHUNK = 1024 * 1024

/** The beginning of a file, and its checksum so far. */
export class PartialBlob {
  readonly #path: string
  readonly #handle: FileHandle
  readonly #file: HubFile
  #hash: Hash
  #size = 0

  private constructor(path: string, handle: FileHandle, file: HubFile) {
    this.#path = path
    this.#handle = handle
    this.#file = file
    this.#hash = newHash(file)
  }

  /** Opens what an earlier attempt left, or begins. Throws FileError; ShoalError `aborted`. */
  static async open(path: string, file: HubFile, signal?: AbortSignal): Promise<PartialBlob> {
    let handle: FileHandle
    try {
      handle = await open(path, constants.O_RDWR | constants.O_CREAT | (constants.O_NOFOLLOW ?? 0), 0o644)
    } catch (error) {
      throw fileError(path, error)
    }
    const partial = new PartialBlob(path, handle, file)
    try {
      const size = regularSize(path, await handle.stat())
      if (size > file.size) await handle.truncate(0)
      else await partial.#read(size, signal)
    } catch (error) {
      await handle.close()
      throw fileError(path, error)
    }
    return partial
  }

  get size(): number {
    return this.#size
  }

  async #read(size: number, signal?: AbortSignal): Promise<void> {
    const buffer = Buffer.allocUnsafe(Math.min(size, CHUNK))
    while (this.#size < size) {
      if (signal?.aborted)
        throw new ShoalError('aborted', `${this.#path}: reading was stopped`, { cause: signal.reason })
      const { bytesRead } = await this.#handle.read(buffer, 0, Math.min(buffer.length, size - this.#size), this.#size)
      if (bytesRead === 0) throw new FileError(this.#path, 'became shorter while it was read')
      this.#hash.update(buffer.subarray(0, bytesRead))
      this.#size += bytesRead
    }
  }

  async append(bytes: Uint8Array): Promise<void> {
    try {
      for (let done = 0; done < bytes.length; ) {
        done += (await this.#handle.write(bytes, done, bytes.length - done, this.#size + done)).bytesWritten
      }
    } catch (error) {
      throw fileError(this.#path, error)
    }
    this.#hash.update(bytes)
    this.#size += bytes.length
  }

  async clear(): Promise<void> {
    await this.#handle.truncate(0)
    this.#hash = newHash(this.#file)
    this.#size = 0
  }

  digest(): string {
    return this.#hash.copy().digest('hex')
  }

  /** A full disk may show only now; a name must never stand for missing data. */
  async sync(): Promise<void> {
    await this.#handle.sync()
  }

  async close(): Promise<void> {
    await this.#handle.close()
    // Nothing came: nothing is left behind.
    if (this.#size === 0 && this.#file.size > 0) await rm(this.#path, { force: true })
  }
}

/** A large file's ETag is its SHA-256, another's is what git names it by. */
function newHash({ etag, size }: HubFile): Hash {
  return etag.length === 64 ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`)
}
