import { TENSOR_TYPES, type TensorType } from '../checkpoint/tensor-type.js'
import { ggml, type Pointer } from './library.js'
import { fullShape, Tensor } from './tensor.js'

/** A ggml context without data: owns tensor headers until it is freed. Room for `tensors` of them is set aside. */
export class Context {
  readonly pointer: Pointer
  /** What the headers take. */
  readonly bytes: number
  private room: number
  private freed = false
  private sealed = false

  constructor(tensors: number, extraBytes = 0) {
    const { functions: f } = ggml()
    this.room = tensors
    const bytes = Number(f.ggml_tensor_overhead()) * tensors + extraBytes + 1024
    this.bytes = bytes
    const pointer: Pointer | null = f.ggml_init({ mem_size: bytes, mem_buffer: null, no_alloc: true })
    if (pointer === null) throw new Error(`ggml could not set aside ${bytes} bytes for tensor headers`)
    this.pointer = pointer
  }

  /** A tensor without memory; the caller allocates it before use. */
  tensor(type: TensorType, ...shape: number[]): Tensor {
    const s = fullShape(type, shape)
    this.take()
    const { functions: f } = ggml()
    return new Tensor(f.ggml_new_tensor_4d(this.pointer, TENSOR_TYPES[type].id, s[0], s[1], s[2], s[3]), type, s)
  }

  /** Counts a header that an operation is about to make: ggml ends the process where there is no room. */
  take(): void {
    if (this.freed) throw new Error('this ggml context was freed')
    if (this.sealed) throw new Error('nothing can be added to a graph after its memory was planned')
    if (this.room === 0) throw new Error('this ggml context has no room for another tensor')
    this.room--
  }

  /** Refuses more tensors from now on. */
  seal(): void {
    this.sealed = true
  }

  dispose(): void {
    if (this.freed) return
    this.freed = true
    ggml().functions.ggml_free(this.pointer)
  }
}
