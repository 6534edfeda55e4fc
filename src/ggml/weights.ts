import type { TensorType } from '../checkpoint/tensor-type.js'
import type { Backend } from './backend.js'
import { Context } from './context.js'
import { ggml, type Pointer } from './library.js'
import { making } from './making.js'
import type { WeightFile } from './mapping.js'
import { StoredTensor } from './store.js'
import { pointerOf, type Tensor } from './tensor.js'
import { type FileTensor, type SourceOptions, WeightSource } from './weight-source.js'

export type { FileTensor } from './weight-source.js'

/** The files that tensors lie in; `part` of a tensor counts them. */
export interface WeightFiles {
  readonly parts: readonly WeightFile[]
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
 * The weights of a package in memory. Tensors in plain memory are the mapped files themselves; matrices for which a better
 * buffer type was chosen are copied there, in its own order, and the file's pages are left to the page cache.
 */
export class WeightStore {
  /** Bytes that were copied out of the files. */
  readonly copiedBytes: number
  private readonly forRows = new Map<string, Tensor>()
  private readonly forProducts = new Map<string, Tensor>()
  private readonly made: StoredTensor[] = []
  private readonly contexts: Context[] = []
  private readonly buffers: Pointer[] = []
  private readonly backend: Backend
  private readonly source: WeightSource
  private readonly tensors: ReadonlyMap<string, FileTensor>
  private disposed = false

  constructor(
    backend: Backend,
    { parts }: WeightFiles,
    uses: readonly WeightUse[],
    choose: BufferChoice,
    options: SourceOptions = {},
  ) {
    this.backend = backend
    this.tensors = new Map(uses.map(({ tensor }) => [tensor.name, tensor]))
    const plain: FileTensor[] = []
    const byBuffer = new Map<string, FileTensor[]>()
    for (const use of uses) {
      const buffer = use.product ? choose(use.tensor) : null
      if (buffer !== null) byBuffer.set(buffer, [...(byBuffer.get(buffer) ?? []), use.tensor])
      if (buffer === null || use.lookup) plain.push(use.tensor)
    }
    this.source = new WeightSource(parts, new Set(uses.map(({ tensor }) => tensor.part)), options)
    try {
      this.placePlain(plain)
      let copied = 0
      for (const [name, tensors] of byBuffer) copied += this.placeIn(name, tensors)
      this.copiedBytes = copied
      this.source.closeFiles()
    } catch (error) {
      this.dispose()
      throw error
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
    try {
      return making(() => {
        const picked = new StoredTensor(this.backend, t.type, columns, rows.length)
        rows.forEach((row, i) => {
          this.source.read(t, row * rowBytes, picked.view.subarray(i * rowBytes, (i + 1) * rowBytes))
        })
        return picked
      })
    } finally {
      this.source.closeFiles()
    }
  }

  /** A copy of some values of an f32 vector. It belongs to the caller. */
  pickValues(name: string, places: readonly number[]): StoredTensor {
    const t = this.tensors.get(name) ?? missing(name)
    const all = new Float32Array(t.bytes / 4)
    this.source.read(t, 0, new Uint8Array(all.buffer))
    this.source.closeFiles()
    const outside = places.find((place) => !(place >= 0 && place < all.length))
    if (outside !== undefined) throw new RangeError(`${name} has values 0 to ${all.length - 1}, not ${outside}`)
    return this.vector(Float32Array.from(places, (place) => all[place] as number))
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
    this.source.dispose()
  }

  private vector(values: Float32Array): StoredTensor {
    const stored = new StoredTensor(this.backend, 'f32', values.length, 1)
    stored.view.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
    return stored
  }

  private placePlain(tensors: readonly FileTensor[]): void {
    if (tensors.length === 0) return
    const { backend, source } = this
    const { functions: f } = ggml()
    const context = this.context(tensors.length)
    const made = tensors.map((t) => context.tensor(t.type, ...t.shape))
    if (source.mapped) {
      const buffers = new Map<number, Pointer>()
      tensors.forEach((t, i) => {
        const address = source.address(t)
        const buffer = buffers.get(t.part) ?? this.mappedBuffer(t.part)
        buffers.set(t.part, buffer)
        f.ggml_backend_tensor_alloc(buffer, pointerOf(made[i] as Tensor), address)
      })
    } else {
      this.allocate(context, backend.hostBufferType)
      tensors.forEach((t, i) => {
        source.readTo(t, f.ggml_get_data(pointerOf(made[i] as Tensor)))
      })
    }
    tensors.forEach((t, i) => {
      this.forRows.set(t.name, made[i] as Tensor)
    })
  }

  private mappedBuffer(part: number): Pointer {
    const { pointer, bytes } = this.source.mapping(part)
    return this.own(ggml().functions.ggml_backend_cpu_buffer_from_ptr(pointer, bytes))
  }

  private placeIn(name: string, tensors: readonly FileTensor[]): number {
    const { functions: f } = ggml()
    const type = this.backend.extraBufferTypes().get(name)
    if (type === undefined) throw new Error(`this processor has no buffer type ${name}`)
    const context = this.context(tensors.length)
    const made = tensors.map((t) => context.tensor(t.type, ...t.shape))
    const buffer = this.allocate(context, type)
    tensors.forEach((t, i) => {
      const tensor = made[i] as Tensor
      this.withData(t, (data) => f.ggml_backend_tensor_set(pointerOf(tensor), data, 0, t.bytes))
      this.forProducts.set(t.name, tensor)
    })
    return Number(f.ggml_backend_buffer_get_size(buffer))
  }

  /** Calls with a tensor's bytes in one piece, which buffers with an order of their own insist on. */
  private withData(t: FileTensor, use: (data: Pointer) => void): void {
    const { functions: f } = ggml()
    const plain = this.forRows.get(t.name)
    if (this.source.mapped || plain !== undefined) {
      use(plain === undefined ? this.source.address(t) : f.ggml_get_data(pointerOf(plain)))
      return
    }
    const context = new Context(1)
    let buffer: Pointer | null = null
    try {
      const whole = context.tensor(t.type, ...t.shape)
      buffer = f.ggml_backend_alloc_ctx_tensors_from_buft(
        context.pointer,
        this.backend.hostBufferType,
      ) as Pointer | null
      if (buffer === null) throw new Error(`out of memory: tensor ${t.name} could not be read`)
      const data: Pointer = f.ggml_get_data(pointerOf(whole))
      this.source.readTo(t, data)
      use(data)
    } finally {
      if (buffer !== null) f.ggml_backend_buffer_free(buffer)
      context.dispose()
    }
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

/**
 * True where ggml can multiply a matrix, or matrices of a stack, of this type and shape that lie in the named buffer type.
 * Takes and frees the matrix's memory without touching it.
 */
export function supportsProduct(
  backend: Backend,
  bufferType: string,
  type: TensorType,
  shape: readonly number[],
): boolean {
  const buft = backend.extraBufferTypes().get(bufferType)
  // ggml ends the process where a stack has a fourth dimension.
  if (buft === undefined || shape.slice(3).some((n) => n > 1)) return false
  const { functions: f } = ggml()
  const weight = new Context(1)
  const rest = new Context(3)
  let buffer: Pointer | null = null
  try {
    const a = weight.tensor(type, ...shape)
    buffer = f.ggml_backend_alloc_ctx_tensors_from_buft(weight.pointer, buft)
    if (buffer === null) return false
    const b = pointerOf(rest.tensor('f32', shape[0] ?? 1, 1))
    const ids = (shape[2] ?? 1) > 1 ? pointerOf(rest.tensor('i32', 1, 1)) : null
    rest.take()
    const op =
      ids === null
        ? f.ggml_mul_mat(rest.pointer, pointerOf(a), b)
        : f.ggml_mul_mat_id(rest.pointer, pointerOf(a), b, ids)
    return f.ggml_backend_dev_supports_op(backend.device, op)
  } finally {
    if (buffer !== null) f.ggml_backend_buffer_free(buffer)
    weight.dispose()
    rest.dispose()
  }
}

function missing(name: string): never {
  throw new Error(`the package has no tensor ${name}`)
}
