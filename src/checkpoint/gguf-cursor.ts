import { isUtf8 } from 'node:buffer'
import { readSync } from 'node:fs'
import { FileError } from '../errors.js'
import { fileError } from './file-errors.js'
import { GGUF_MAX_STRING } from './gguf-format.js'

const FIRST_CHUNK = 256 * 1024
const LARGEST_CHUNK = 8 * 1024 * 1024

/**
 * Reads the front of a file value by value, in chunks that double in size. Synchronous, because a promise per value costs
 * far more.
 */
export class GgufCursor {
  readonly path: string
  readonly size: number
  private readonly fd: number
  private buffer = Buffer.alloc(0)
  /** Position in the file of the buffer's first byte. */
  private start = 0
  private at = 0
  private chunk = FIRST_CHUNK

  constructor(path: string, fd: number, size: number) {
    this.path = path
    this.fd = fd
    this.size = size
  }

  get position(): number {
    return this.start + this.at
  }

  get remaining(): number {
    return this.size - this.position
  }

  /** Makes `bytes` bytes available and returns where they start in `buffer`. */
  private take(bytes: number, what: string): number {
    if (this.at + bytes > this.buffer.length) this.fill(bytes, what)
    const at = this.at
    this.at += bytes
    return at
  }

  private fill(bytes: number, what: string): void {
    if (bytes > this.remaining) throw new FileError(this.path, `ends in the middle of ${what}`)
    const position = this.position
    const buffer = Buffer.allocUnsafe(Math.min(Math.max(bytes, this.chunk), this.size - position))
    let done = this.buffer.copy(buffer, 0, this.at)
    while (done < buffer.length) {
      const read = this.readAt(buffer, done, position + done)
      if (read === 0) throw new FileError(this.path, `ends in the middle of ${what}`)
      done += read
    }
    this.buffer = buffer
    this.start = position
    this.at = 0
    this.chunk = Math.min(this.chunk * 2, LARGEST_CHUNK)
  }

  /** The `bytes` bytes from `position` on, again. */
  again(position: number, bytes: number, what: string): Buffer {
    const out = Buffer.allocUnsafeSlow(bytes)
    let done = 0
    while (done < bytes) {
      const read = this.readAt(out, done, position + done)
      if (read === 0) throw new FileError(this.path, `ends in the middle of ${what}`)
      done += read
    }
    return out
  }

  /** Passes over `bytes` bytes. */
  skip(bytes: number, what: string): void {
    if (bytes > this.remaining) throw new FileError(this.path, `ends in the middle of ${what}`)
    if (this.at + bytes <= this.buffer.length) {
      this.at += bytes
      return
    }
    this.start = this.position + bytes
    this.at = 0
    this.buffer = Buffer.alloc(0)
  }

  private readAt(buffer: Buffer, offset: number, position: number): number {
    try {
      return readSync(this.fd, buffer, offset, buffer.length - offset, position)
    } catch (error) {
      throw fileError(this.path, error)
    }
  }

  uint8(what: string): number {
    const at = this.take(1, what)
    return this.buffer.readUInt8(at)
  }

  int8(what: string): number {
    const at = this.take(1, what)
    return this.buffer.readInt8(at)
  }

  uint16(what: string): number {
    const at = this.take(2, what)
    return this.buffer.readUInt16LE(at)
  }

  int16(what: string): number {
    const at = this.take(2, what)
    return this.buffer.readInt16LE(at)
  }

  uint32(what: string): number {
    const at = this.take(4, what)
    return this.buffer.readUInt32LE(at)
  }

  int32(what: string): number {
    const at = this.take(4, what)
    return this.buffer.readInt32LE(at)
  }

  float32(what: string): number {
    const at = this.take(4, what)
    return this.buffer.readFloatLE(at)
  }

  float64(what: string): number {
    const at = this.take(8, what)
    return this.buffer.readDoubleLE(at)
  }

  /** A length, a count or an offset: one that a number does not hold exactly is refused. */
  uint64(what: string): number {
    const at = this.take(8, what)
    const value = this.buffer.readUInt32LE(at) + this.buffer.readUInt32LE(at + 4) * 2 ** 32
    if (!Number.isSafeInteger(value)) throw new FileError(this.path, `${what} holds a number beyond 2^53`)
    return value
  }

  bigUint64(what: string): bigint {
    const at = this.take(8, what)
    return this.buffer.readBigUInt64LE(at)
  }

  bigInt64(what: string): bigint {
    const at = this.take(8, what)
    return this.buffer.readBigInt64LE(at)
  }

  bool(what: string): boolean {
    const value = this.uint8(what)
    if (value > 1) throw new FileError(this.path, `${what} is neither true nor false (${value})`)
    return value === 1
  }

  /** A 64-bit length and that many bytes of UTF-8; other bytes come with them. */
  text(what: string): { value: string; bytes?: Uint8Array } {
    const length = this.length(what, GGUF_MAX_STRING)
    const at = this.take(length, what)
    const bytes = this.buffer.subarray(at, at + length)
    const value = bytes.toString('utf8')
    return isUtf8(bytes) ? { value } : { value, bytes: new Uint8Array(bytes) }
  }

  /** A name: a string that must be UTF-8. */
  name(what: string, longest: number): string {
    const length = this.length(what, longest)
    const at = this.take(length, what)
    const bytes = this.buffer.subarray(at, at + length)
    if (!isUtf8(bytes)) throw new FileError(this.path, `${what} is not UTF-8`)
    return bytes.toString('utf8')
  }

  /** A 64-bit length of a string. */
  length(what: string, longest: number): number {
    const length = this.uint64(what)
    if (length > longest) throw new FileError(this.path, `${what} is ${length} bytes long, at most ${longest} may be`)
    return length
  }

  /** A 64-bit count of things that take at least `least` bytes each; one that cannot be true is refused. */
  count(what: string, least: number, most: number): number {
    const count = this.uint64(what)
    if (count > most) throw new FileError(this.path, `${what} of ${count} is over the limit of ${most}`)
    if (count > this.remaining / least) {
      throw new FileError(this.path, `${what} of ${count} cannot be: only ${this.remaining} bytes follow`)
    }
    return count
  }
}
