import { closeSync, readSync } from 'node:fs'
import koffi from 'koffi'
import { fileError } from '../checkpoint/file-errors.js'
import { checkUnchanged, openRegularSync } from '../checkpoint/regular-file.js'
import type { TensorType } from '../checkpoint/tensor-type.js'
import { FileError } from '../errors.js'
import type { Pointer } from './library.js'
import { type Mapping, mapFile, type WeightFile } from './mapping.js'

/** Where the data of a tensor lies in a file; shape in ggml's order. */
export interface FileTensor {
  readonly name: string
  /** Which of the files holds it. */
  readonly part: number
  readonly shape: readonly number[]
  readonly type: TensorType
  /** From the start of its file, in bytes. */
  readonly offset: number
  readonly bytes: number
}

export interface SourceOptions {
  /** Maps a file; null from it means that files are read instead, as on platforms without mmap. */
  readonly map?: (file: WeightFile) => Mapping | null
  /** Bytes read at a time. */
  readonly piece?: number
}

/** One read takes 2 GiB less a page at most on Linux, and a buffer of JavaScript 2 to 8 GiB: tensors may be larger. */
const PIECE = 64 * 1024 * 1024

/** The bytes of weight files: mapped where the platform can, else read piece by piece. */
export class WeightSource {
  /** True where tensors have an address. */
  readonly mapped: boolean
  private readonly files: readonly WeightFile[]
  private readonly piece: number
  private readonly mappings = new Map<number, Mapping>()
  private readonly opened = new Map<number, number>()

  /** @param used the files that tensors are wanted from, by index: others are not touched */
  constructor(
    files: readonly WeightFile[],
    used: ReadonlySet<number>,
    { map = mapFile, piece = PIECE }: SourceOptions = {},
  ) {
    this.files = files
    this.piece = piece
    let mapped = used.size > 0
    try {
      for (const part of used) {
        const mapping = map(this.file(part))
        if (mapping === null) mapped = false
        else this.mappings.set(part, mapping)
      }
    } catch (error) {
      this.dispose()
      throw error
    }
    this.mapped = mapped
  }

  /** A file as it lies in memory; only where files are mapped. */
  mapping(part: number): Mapping {
    return this.mappings.get(part) as Mapping
  }

  /** Where a tensor lies in memory; only where files are mapped. */
  address(t: FileTensor): Pointer {
    this.check(t)
    return this.mapping(t.part).pointer + BigInt(t.offset)
  }

  /** Fills `into` from the tensor's byte `from` on. */
  read(t: FileTensor, from: number, into: Uint8Array): void {
    this.check(t)
    if (from < 0 || from + into.length > t.bytes) throw new RangeError(`bytes beyond tensor ${t.name}`)
    if (this.mapped) {
      into.set(new Uint8Array(koffi.view(this.address(t) + BigInt(from), into.length)))
      return
    }
    const { path } = this.file(t.part)
    const fd = this.open(t.part)
    let done = 0
    while (done < into.length) {
      const wanted = Math.min(this.piece, into.length - done)
      const n = readPiece(path, fd, into, done, wanted, t.offset + from + done)
      if (n === 0) throw new FileError(path, `ends inside tensor ${t.name}`)
      done += n
    }
  }

  /** Fills memory outside of JavaScript with a whole tensor, which may be larger than any buffer. */
  readTo(t: FileTensor, memory: Pointer): void {
    this.check(t)
    for (let from = 0; from < t.bytes; from += this.piece) {
      const length = Math.min(this.piece, t.bytes - from)
      this.read(t, from, new Uint8Array(koffi.view(memory + BigInt(from), length)))
    }
  }

  check({ name, part, offset, bytes }: FileTensor): void {
    const file = this.file(part)
    if (offset % 32 !== 0) throw new FileError(file.path, `tensor ${name} does not start at a multiple of 32 bytes`)
    if (offset + bytes > file.bytes) throw new FileError(file.path, `ends inside tensor ${name}`)
  }

  /** Closes what was opened to read; it is opened again where it is needed again. */
  closeFiles(): void {
    for (const fd of this.opened.values()) closeSync(fd)
    this.opened.clear()
  }

  dispose(): void {
    this.closeFiles()
    for (const mapping of this.mappings.values()) mapping.dispose()
  }

  private file(part: number): WeightFile {
    const file = this.files[part]
    if (file === undefined) throw new RangeError(`there are ${this.files.length} weight files, not ${part + 1}`)
    return file
  }

  private open(part: number): number {
    const known = this.opened.get(part)
    if (known !== undefined) return known
    const file = this.file(part)
    const { fd, ...now } = openRegularSync(file.path)
    this.opened.set(part, fd)
    checkUnchanged(file.path, file, now)
    return fd
  }
}

function readPiece(path: string, fd: number, into: Uint8Array, at: number, length: number, position: number): number {
  try {
    return readSync(fd, into, at, length, position)
  } catch (error) {
    throw fileError(path, error)
  }
}
