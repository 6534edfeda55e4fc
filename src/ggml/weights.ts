import { closeSync, openSync, readSync, statSync } from 'node:fs'
import koffi from 'koffi'
import { fileError } from '../checkpoint/file-errors.js'
import type { TensorType } from '../checkpoint/tensor-type.js'
import { FileError } from '../errors.js'
import type { Backend } from './backend.js'
import { Context } from './context.js'
import { ggml, type Pointer } from './library.js'
import { type Mapping, mapFile } from './mapping.js'
import { StoredTensor } from './store.js'
import { pointerOf, type Tensor } from './tensor.js'

/** Where the data of a tensor lies in a file; shape in ggml's order. */
export interface FileTensor {
  readonly name: string
  readonly shape: readonly number[]
  readonly type: TensorType
  /** From the start of the file, in bytes. */
  readonly offset: number
  readonly bytes: number
}

export interface WeightFile {
  readonly path: string
  readonly bytes: number
}

/** A tensor and what it is used for: a matrix may move to a buffer with an order of its own, a lookup may not. */
export interface WeightUse {
  readonly tensor: FileTensor
  readonly lookup: boolean
  /** A matrix for each expert, of which products take some. */
  readonly stack?: boolean
  readonly product: boolean
}

/** Which buffer type a matrix goes to: a name of `Backend.extraBufferTypes`, or null for plain memory. */
export type BufferChoice = (tensor: FileTensor) => string | null

/**
 * The weights of a package in memory. Tensors in plain memory are the mapped file itself; matrices for which a better
 * buffer type was chosen are copied there, in its own order, and the file's pages are left to the page cache.
 */
export class WeightStore {
  /** Bytes that were copied out of the file. */
  readonly copiedBytes: number
  private readonly forRows = new Map<string, Tensor>()
  private readonly forProducts = new Map<string, Tensor>()
  private readonly made: StoredTensor[] = []
  private readonly contexts: Context[] = []
  private readonly buffers: Pointer[] = []
  private readonly backend: Backend
  private readonly file: WeightFile
  private readonly tensors: ReadonlyMap<string, FileTensor>
  private mapping: Mapping | null = null
  private disposed = false

  /** @param map null from it means that the file is read instead, as on platforms without mmap */
  constructor(
    backend: Backend,
    file: WeightFile,
    uses: readonly WeightUse[],
    choose: BufferChoice,
    map: (path: string, bytes: number) => Mapping | null = mapFile,
  ) {
    this.backend = backend
    this.file = file
    this.tensors = new Map(uses.map(({ tensor }) => [tensor.name, tensor]))
    const plain: FileTensor[] = []
    const byBuffer = new Map<string, FileTensor[]>()
    for (const use of uses) {
      const buffer = use.product && use.stack !== true ? choose(use.tensor) : null
      if (buffer !== null) byBuffer.set(buffer, [...(byBuffer.get(buffer) ?? []), use.tensor])
      if (buffer === null || use.lookup) plain.push(use.tensor)
    }
    const source = new Source(file, map)
    try {
      this.mapping = source.mapping
      this.placePlain(backend, source, plain)
      let copied = 0
      for (const [name, tensors] of byBuffer) copied += this.placeIn(backend, name, source, tensors)
      this.copiedBytes = copied
    } catch (error) {
      this.dispose()
      throw error
    } finally {
      source.close()
    }
  }

  get(name: string): Tensor {
    return this.optional(name) ?? missing(name)
  }

  optional(name: string): Tensor | null {
    return this.forProducts.get(name) ?? this.forRows.get(name) ?? null
  }

  rows(name: string): Tensor {
    return this.forRows.get(name) ?? missing(name)
  }

  /** A copy of some rows of a matrix, in its own type and in plain memory: [columns, rows]. It belongs to the caller. */
  pickRows(name: string, rows: readonly number[]): StoredTensor {
    const t = this.tensors.get(name) ?? missing(name)
    const [columns = 1, height = 1] = t.shape
    const outside = rows.find((row) => !Number.isInteger(row) || row < 0 || row >= height)
    if (outside !== undefined) throw new RangeError(`${name} has rows 0 to ${height - 1}, not ${outside}`)
    const rowBytes = t.bytes / height
    const picked = new StoredTensor(this.backend, t.type, columns, rows.length)
    const source = new Source(this.file, () => this.mapping)
    try {
      rows.forEach((row, i) => {
        picked.view.set(source.read(t, row * rowBytes, rowBytes), i * rowBytes)
      })
      return picked
    } catch (error) {
      picked.dispose()
      throw error
    } finally {
      source.close()
    }
  }

  /** A copy of some values of an f32 vector. It belongs to the caller. */
  pickValues(name: string, places: readonly number[]): StoredTensor {
    const t = this.tensors.get(name) ?? missing(name)
    const source = new Source(this.file, () => this.mapping)
    try {
      const bytes = Uint8Array.from(source.read(t))
      const all = new Float32Array(bytes.buffer)
      const outside = places.find((place) => !(place >= 0 && place < all.length))
      if (outside !== undefined) throw new RangeError(`${name} has values 0 to ${all.length - 1}, not ${outside}`)
      return this.vector(Float32Array.from(places, (place) => all[place] as number))
    } finally {
      source.close()
    }
  }

  /** Takes up a vector that is in no file. */
  add(name: string, values: Float32Array): void {
    const stored = this.vector(values)
    this.made.push(stored)
    this.forRows.set(name, stored.tensor)
  }

  dispose(): void {
    if (this.disposed) return
    this.disposed = true
    for (const stored of this.made) stored.dispose()
    for (const buffer of this.buffers) ggml().functions.ggml_backend_buffer_free(buffer)
    for (const context of this.contexts) context.dispose()
    this.mapping?.dispose()
  }

  private vector(values: Float32Array): StoredTensor {
    const stored = new StoredTensor(this.backend, 'f32', values.length, 1)
    stored.view.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
    return stored
  }

  private placePlain(backend: Backend, source: Source, tensors: readonly FileTensor[]): void {
    if (tensors.length === 0) return
    const { functions: f } = ggml()
    const context = this.context(tensors.length)
    const made = tensors.map((t) => context.tensor(t.type, ...t.shape))
    if (source.mapping !== null) {
      const buffer: Pointer = f.ggml_backend_cpu_buffer_from_ptr(source.mapping.pointer, source.mapping.bytes)
      this.own(buffer)
      tensors.forEach((t, i) => {
        source.check(t)
        f.ggml_backend_tensor_alloc(buffer, pointerOf(made[i] as Tensor), source.address(t))
      })
    } else {
      this.allocate(context, backend.hostBufferType)
      tensors.forEach((t, i) => {
        f.ggml_backend_tensor_set(pointerOf(made[i] as Tensor), source.read(t), 0, t.bytes)
      })
    }
    tensors.forEach((t, i) => {
      this.forRows.set(t.name, made[i] as Tensor)
    })
  }

  private placeIn(backend: Backend, name: string, source: Source, tensors: readonly FileTensor[]): number {
    const { functions: f } = ggml()
    const type = backend.extraBufferTypes().get(name)
    if (type === undefined) throw new Error(`this processor has no buffer type ${name}`)
    const context = this.context(tensors.length)
    const made = tensors.map((t) => context.tensor(t.type, ...t.shape))
    const buffer = this.allocate(context, type)
    tensors.forEach((t, i) => {
      const tensor = made[i] as Tensor
      f.ggml_backend_tensor_set(pointerOf(tensor), source.mapping ? source.address(t) : source.read(t), 0, t.bytes)
      this.forProducts.set(t.name, tensor)
    })
    return Number(f.ggml_backend_buffer_get_size(buffer))
  }

  private context(tensors: number): Context {
    const context = new Context(tensors)
    this.contexts.push(context)
    return context
  }

  private allocate(context: Context, type: Pointer): Pointer {
    const buffer: Pointer | null = ggml().functions.ggml_backend_alloc_ctx_tensors_from_buft(context.pointer, type)
    if (buffer === null) throw new Error('out of memory: the weights could not be allocated')
    return this.own(buffer)
  }

  private own(buffer: Pointer): Pointer {
    const GGML_BACKEND_BUFFER_USAGE_WEIGHTS = 1
    ggml().functions.ggml_backend_buffer_set_usage(buffer, GGML_BACKEND_BUFFER_USAGE_WEIGHTS)
    this.buffers.push(buffer)
    return buffer
  }
}

/** The bytes of a weight file: mapped where the platform can, else read tensor by tensor. */
class Source {
  readonly mapping: Mapping | null
  private readonly file: WeightFile
  private fd: number | null = null

  constructor(file: WeightFile, map: (path: string, bytes: number) => Mapping | null) {
    this.file = file
    // Touching a page of a mapping beyond the end of its file ends the process.
    if (sizeOf(file.path) < file.bytes) throw new FileError(file.path, 'was cut since its header was read')
    this.mapping = map(file.path, file.bytes)
  }

  address(t: FileTensor): Pointer {
    this.check(t)
    return (this.mapping as Mapping).pointer + BigInt(t.offset)
  }

  /** `bytes` of a tensor from its byte `from` on. */
  read(t: FileTensor, from = 0, bytes = t.bytes): Uint8Array {
    this.check(t)
    if (this.mapping !== null) return new Uint8Array(koffi.view(this.address(t) + BigInt(from), bytes))
    this.fd ??= openSync(this.file.path, 'r')
    const out = new Uint8Array(bytes)
    let done = 0
    while (done < bytes) {
      const n = readSync(this.fd, out, done, bytes - done, t.offset + from + done)
      if (n === 0) throw new FileError(this.file.path, `ends inside tensor ${t.name}`)
      done += n
    }
    return out
  }

  check(t: FileTensor): void {
    if (t.offset % 32 !== 0)
      throw new FileError(this.file.path, `tensor ${t.name} does not start at a multiple of 32 bytes`)
    if (t.offset + t.bytes > this.file.bytes) throw new FileError(this.file.path, `ends inside tensor ${t.name}`)
  }

  close(): void {
    if (this.fd !== null) closeSync(this.fd)
    this.fd = null
  }
}

function sizeOf(path: string): number {
  try {
    return statSync(path).size
  } catch (error) {
    throw fileError(path, error)
  }
}

/**
 * True where ggml can multiply a matrix of this type and shape that lies in the named buffer type.
 * Takes and frees the matrix's memory without touching it.
 */
export function supportsProduct(
  backend: Backend,
  bufferType: string,
  type: TensorType,
  shape: readonly number[],
): boolean {
  const buft = backend.extraBufferTypes().get(bufferType)
  if (buft === undefined) return false
  const { functions: f } = ggml()
  const weight = new Context(1)
  const rest = new Context(2)
  let buffer: Pointer | null = null
  try {
    const a = weight.tensor(type, ...shape)
    buffer = f.ggml_backend_alloc_ctx_tensors_from_buft(weight.pointer, buft)
    if (buffer === null) return false
    const b = rest.tensor('f32', shape[0] ?? 1, 1)
    rest.take()
    return f.ggml_backend_dev_supports_op(backend.device, f.ggml_mul_mat(rest.pointer, pointerOf(a), pointerOf(b)))
  } finally {
    if (buffer !== null) f.ggml_backend_buffer_free(buffer)
    weight.dispose()
    rest.dispose()
  }
}

function missing(name: string): never {
  throw new Error(`the package has no tensor ${name}`)
}
