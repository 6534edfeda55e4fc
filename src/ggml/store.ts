import koffi from 'koffi'
import type { TensorType } from '../checkpoint/tensor-type.js'
import type { Backend } from './backend.js'
import { Context } from './context.js'
import { ggml, type Pointer } from './library.js'
import { noteMade } from './making.js'
import { pointerOf, type Tensor } from './tensor.js'

/** One zero-filled tensor that outlives graphs: a cache, hidden rows. Read and written through `view` in host memory. */
export class StoredTensor {
  readonly tensor: Tensor
  private readonly context: Context
  private readonly buffer: Pointer
  private bytes: Uint8Array | null

  constructor(backend: Backend, type: TensorType, ...shape: number[]) {
    const { functions: f } = ggml()
    this.context = new Context(1)
    this.tensor = this.context.tensor(type, ...shape)
    const buffer: Pointer | null = f.ggml_backend_alloc_ctx_tensors_from_buft(
      this.context.pointer,
      backend.hostBufferType,
    )
    if (buffer === null) {
      this.context.dispose()
      throw new Error(`out of memory: a tensor ${type}[${shape.join(', ')}] could not be allocated`)
    }
    this.buffer = buffer
    f.ggml_backend_buffer_clear(buffer, 0)
    this.bytes = new Uint8Array(koffi.view(f.ggml_get_data(pointerOf(this.tensor)), this.tensor.bytes))
    noteMade(this)
  }

  /** The tensor's memory. Do not keep it beyond `dispose`. */
  get view(): Uint8Array {
    if (this.bytes === null) throw new Error('this tensor was disposed')
    return this.bytes
  }

  dispose(): void {
    if (this.bytes === null) return
    this.bytes = null
    ggml().functions.ggml_backend_buffer_free(this.buffer)
    this.context.dispose()
  }
}
