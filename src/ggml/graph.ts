import koffi from 'koffi'
import { isWeightType, TENSOR_TYPES, type TensorType } from '../checkpoint/tensor-type.js'
import type { Backend } from './backend.js'
import { Context } from './context.js'
import { type GgmlFunctions, ggml, type Pointer } from './library.js'
import { fullShape, pointerOf, type Shape, Tensor } from './tensor.js'

export { Tensor } from './tensor.js'

/** Bytes that a processor moves at once. */
const CACHE_LINE = 64

/** Rotary position embedding as `ggml_rope_ext` takes it. */
export interface Rope {
  /** Dimensions of a head that are rotated. */
  readonly dimensions: number
  /** `interleaved` rotates pairs (2i, 2i + 1), `halves` pairs (i, i + dimensions / 2). */
  readonly pairs: 'interleaved' | 'halves'
  readonly base: number
  /** Positions are multiplied by this: 1 / factor of linear scaling. */
  readonly scale: number
}

/**
 * A compute graph: operations are added one by one, then memory is planned once and the graph is computed many times.
 * Every operation checks types and shapes first, because ggml ends the process where they do not fit.
 */
export class Graph {
  /** What the last compute took, in ms, or the first is expected to take: what is unknown runs off the event loop. */
  lastMs = Number.POSITIVE_INFINITY
  private usualMs = Number.POSITIVE_INFINITY
  private readonly backend: Backend
  private readonly context: Context
  private readonly f: GgmlFunctions
  private readonly graph: Pointer
  private allocator: Pointer | null = null
  private disposed = false

  /** @param capacity tensors that the graph can hold, operations, inputs and views together */
  constructor(backend: Backend, capacity: number) {
    this.backend = backend
    this.f = ggml().functions
    this.context = new Context(capacity, Number(this.f.ggml_graph_overhead_custom(capacity, false)))
    this.graph = this.f.ggml_new_graph_custom(this.context.pointer, capacity, false)
  }

  /**
   * A tensor that is written before each compute. Its memory may be reused within a compute. A list is rounded up to
   * whole cache lines, since what is allocated after it would start in the middle of one: a prompt of 128 tokens took
   * 0.82 s instead of 0.51 that way (q4_0 on AMX).
   */
  input(type: TensorType, ...shape: number[]): Tensor {
    const [length = 1] = shape
    const line = CACHE_LINE / TENSOR_TYPES[type].blockBytes
    const padded = shape.length === 1 && length % line !== 0
    const t = padded ? this.context.tensor(type, Math.ceil(length / line) * line) : this.context.tensor(type, ...shape)
    this.f.ggml_set_input(pointerOf(t))
    return padded ? this.view(t, [length, 1, 1], [t.bytes, t.bytes], 0) : t
  }

  /** Rows of a, taken by index: a [n, rows], ids i32 [k] -> f32 [n, k]. */
  getRows(a: Tensor, ids: Tensor): Tensor {
    must(isWeightType(a.type), 'getRows', a, ids)
    must(ids.type === 'i32' && ids.rows === 1 && a.shape[2] === 1 && a.shape[3] === 1, 'getRows', a, ids)
    return this.node(this.f.ggml_get_rows, 'f32', [a.shape[0], ids.shape[0], 1, 1], a, ids)
  }

  /** Writes the rows of b into a at the given indices; belongs to the graph only once expanded. */
  setRows(a: Tensor, b: Tensor, ids: Tensor): Tensor {
    must(ids.type === 'i32' && ids.rows === 1 && b.type === 'f32', 'setRows', a, b, ids)
    must(
      a.shape[0] === b.shape[0] && b.shape[1] === ids.shape[0] && a.rows === a.shape[1] && b.rows === b.shape[1],
      'setRows',
      a,
      b,
    )
    return this.node(this.f.ggml_set_rows, a.type, a.shape, a, b, ids)
  }

  /** a [k, n], b [k, m] -> [n, m]; matrices of a stack [k, n, s] each with that of b [k, m, s]. */
  mulMat(a: Tensor, b: Tensor): Tensor {
    must(isWeightType(a.type) && a.shape[0] === b.shape[0] && b.type === 'f32' && b.contiguous, 'mulMat', a, b)
    must(a.rows === a.shape[1] || (a.shape[2] === b.shape[2] && a.shape[3] === b.shape[3]), 'mulMat', a, b)
    return this.node(this.f.ggml_mul_mat, 'f32', [a.shape[1], b.shape[1], b.shape[2], b.shape[3]], a, b)
  }

  /** Sum; b may be one row that is added to every row. */
  add(a: Tensor, b: Tensor): Tensor {
    this.mustRepeat('add', a, b)
    return this.node(this.f.ggml_add, 'f32', a.shape, a, b)
  }

  /** Elementwise product; b may be one row that scales every row. */
  mul(a: Tensor, b: Tensor): Tensor {
    this.mustRepeat('mul', a, b)
    return this.node(this.f.ggml_mul, 'f32', a.shape, a, b)
  }

  rmsNorm(a: Tensor, epsilon: number): Tensor {
    must(a.type === 'f32' && epsilon >= 0, 'rmsNorm', a)
    this.context.take()
    return new Tensor(this.f.ggml_rms_norm(this.context.pointer, pointerOf(a), epsilon), 'f32', a.shape)
  }

  /** (a - mean) / sqrt(variance + epsilon) of every row. */
  norm(a: Tensor, epsilon: number): Tensor {
    must(a.type === 'f32' && epsilon >= 0, 'norm', a)
    this.context.take()
    return new Tensor(this.f.ggml_norm(this.context.pointer, pointerOf(a), epsilon), 'f32', a.shape)
  }

  relu(a: Tensor): Tensor {
    must(a.type === 'f32' && a.contiguous, 'relu', a)
    return this.node(this.f.ggml_relu, 'f32', a.shape, a)
  }

  /**
   * a sigmoid(a d) with d = sqrt(8 / pi) (1 + 0.044715 a^2), which is GELU's tanh approximation (Hendrycks and Gimpel
   * 2016, section 2), by way of silu(a d) / d. ggml's own gelu reads it from a table in half precision: 4e-3 off in the
   * hidden states of five layers.
   */
  gelu(a: Tensor): Tensor {
    must(a.type === 'f32' && a.contiguous, 'gelu', a)
    const inner = Math.sqrt(8 / Math.PI)
    this.context.take()
    const squares = pointerOf(this.mul(a, a))
    const d = new Tensor(this.f.ggml_scale_bias(this.context.pointer, squares, inner * 0.044715, inner), 'f32', a.shape)
    const silu = this.node(this.f.ggml_silu, 'f32', a.shape, this.mul(a, d))
    return this.node(this.f.ggml_div, 'f32', a.shape, silu, d)
  }

  /** silu(gate) * up. */
  swiglu(gate: Tensor, up: Tensor): Tensor {
    must(
      same(gate.shape, up.shape) && gate.type === 'f32' && up.type === 'f32' && gate.contiguous && up.contiguous,
      'swiglu',
      gate,
      up,
    )
    return this.node(this.f.ggml_swiglu_split, 'f32', gate.shape, gate, up)
  }

  softMax(a: Tensor): Tensor {
    must(a.type === 'f32' && a.contiguous, 'softMax', a)
    return this.node(this.f.ggml_soft_max, 'f32', a.shape, a)
  }

  /**
   * softmax(scale a + slope mask) over the columns.
   * @param a f32 [cells, rows, heads] @param mask f16 or f32 [cells, rows], the same for every head
   * @param maxBias above 0 gives every head its ALiBi slope; 0 makes all slopes 1
   */
  maskedSoftMax(a: Tensor, mask: Tensor, scale: number, maxBias = 0): Tensor {
    must(
      a.type === 'f32' && a.contiguous && mask.contiguous && mask.rows === mask.shape[1] && maxBias >= 0,
      'maskedSoftMax',
      a,
      mask,
    )
    must(mask.type === 'f16' || mask.type === 'f32', 'maskedSoftMax', mask)
    must(mask.shape[0] === a.shape[0] && mask.shape[1] === a.shape[1], 'maskedSoftMax', a, mask)
    this.context.take()
    const p = this.f.ggml_soft_max_ext(this.context.pointer, pointerOf(a), pointerOf(mask), scale, maxBias)
    return new Tensor(p, 'f32', a.shape)
  }

  /** a, laid out contiguously. */
  contiguous(a: Tensor): Tensor {
    return a.contiguous ? a : this.node(this.f.ggml_cont, a.type, a.shape, a)
  }

  /** a [headDim, heads, rows] rotated by positions i32 [rows]; `factors` f32 [dimensions / 2] divide the frequencies. */
  rope(a: Tensor, positions: Tensor, rope: Rope, factors: Tensor | null): Tensor {
    must(
      a.type === 'f32' && positions.type === 'i32' && a.shape[2] === positions.shape[0] && a.shape[3] === 1,
      'rope',
      a,
      positions,
    )
    must(rope.dimensions % 2 === 0 && rope.dimensions <= a.shape[0], 'rope', a)
    if (factors) must(factors.type === 'f32' && factors.shape[0] >= rope.dimensions / 2, 'rope', factors)
    this.context.take()
    const p = this.f.ggml_rope_ext(
      this.context.pointer,
      pointerOf(a),
      pointerOf(positions),
      factors ? pointerOf(factors) : null,
      rope.dimensions,
      rope.pairs === 'interleaved' ? 0 : 2,
      0,
      rope.base,
      rope.scale,
      0,
      1,
      32,
      1,
    )
    return new Tensor(p, 'f32', a.shape)
  }

  /**
   * softmax(scale q k^T + slope mask) v.
   * @param q f32 [headDim, rows, heads] @param k, v [headDim, cells, kvHeads] @param mask f16 [cells, rows]
   * @param maxBias as in `maskedSoftMax`
   * @returns f32 [headDim, heads, rows]
   */
  flashAttention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: number, maxBias = 0): Tensor {
    must(maxBias >= 0, 'flashAttention', q)
    must(q.type === 'f32' && k.type === v.type && (k.type === 'f32' || k.type === 'f16'), 'flashAttention', q, k, v)
    must(q.shape[0] === k.shape[0] && k.shape[1] === v.shape[1] && k.shape[2] === v.shape[2], 'flashAttention', q, k, v)
    must(q.shape[2] % k.shape[2] === 0 && q.shape[3] === 1, 'flashAttention', q, k)
    must(
      mask.type === 'f16' && mask.shape[0] === k.shape[1] && mask.shape[1] === q.shape[1] && mask.contiguous,
      'flashAttention',
      q,
      k,
      mask,
    )
    this.context.take()
    const p = this.f.ggml_flash_attn_ext(
      this.context.pointer,
      pointerOf(q),
      pointerOf(k),
      pointerOf(v),
      pointerOf(mask),
      scale,
      maxBias,
      0,
    )
    return new Tensor(p, 'f32', [v.shape[0], q.shape[2], q.shape[1], 1])
  }

  reshape(a: Tensor, ...shape: number[]): Tensor {
    const s = fullShape(a.type, shape)
    must(a.contiguous && s[0] * s[1] * s[2] * s[3] === a.elements, 'reshape', a)
    this.context.take()
    return new Tensor(this.f.ggml_reshape_4d(this.context.pointer, pointerOf(a), s[0], s[1], s[2], s[3]), a.type, s)
  }

  /** Exchanges dimensions 1 and 2 without moving data: [a, b, c] -> [a, c, b]. */
  swapRows(a: Tensor): Tensor {
    this.context.take()
    const p = this.f.ggml_permute(this.context.pointer, pointerOf(a), 0, 2, 1, 3)
    const [s, n] = [a.shape, a.strides]
    return new Tensor(p, a.type, [s[0], s[2], s[1], s[3]], [n[0], n[2], n[1], n[3]])
  }

  /** Exchanges dimensions 0 and 1: [a, b, c] -> [b, a, c], laid out contiguously. */
  transpose(a: Tensor): Tensor {
    this.context.take()
    const p = this.f.ggml_permute(this.context.pointer, pointerOf(a), 1, 0, 2, 3)
    const [s, n] = [a.shape, a.strides]
    const turned = new Tensor(p, a.type, [s[1], s[0], s[2], s[3]], [n[1], n[0], n[2], n[3]])
    return this.node(this.f.ggml_cont, a.type, turned.shape, turned)
  }

  /** A window into a: shape and strides [bytes] of dimensions 1 and 2, from a byte offset. */
  view(
    a: Tensor,
    shape: readonly [number, number, number],
    strides: readonly [number, number],
    offset: number,
  ): Tensor {
    const s = fullShape(a.type, shape)
    const row = fullRow(a, s[0])
    const end = offset + (s[1] - 1) * strides[0] + (s[2] - 1) * strides[1] + row
    must(a.contiguous && offset >= 0 && end <= a.bytes && strides[0] >= 0 && strides[1] >= 0, 'view', a)
    this.context.take()
    const nb3 = strides[1] * s[2]
    const p = this.f.ggml_view_4d(
      this.context.pointer,
      pointerOf(a),
      s[0],
      s[1],
      s[2],
      1,
      strides[0],
      strides[1],
      nb3,
      offset,
    )
    return new Tensor(p, a.type, s, [a.strides[0], strides[0], strides[1], nb3])
  }

  /** Copies a into b, converting its type; belongs to the graph only once expanded. */
  copy(a: Tensor, b: Tensor): Tensor {
    must(a.elements === b.elements, 'copy', a, b)
    return this.node(this.f.ggml_cpy, b.type, b.shape, a, b)
  }

  /** Puts a tensor and all that it needs at the end of the graph: what comes later may rely on its effect. */
  expand(t: Tensor): void {
    this.f.ggml_build_forward_expand(this.graph, pointerOf(t))
  }

  /** Expands a tensor and keeps its memory from being reused, so that it can be read after the compute. */
  output(t: Tensor): Tensor {
    this.f.ggml_set_output(pointerOf(t))
    this.expand(t)
    return t
  }

  /** Plans and takes the memory. After this nothing can be added. */
  allocate(): void {
    if (this.allocator !== null) return
    this.context.seal()
    this.allocator = this.f.ggml_gallocr_new(this.backend.hostBufferType) as Pointer
    if (!this.f.ggml_gallocr_alloc_graph(this.allocator, this.graph)) {
      this.dispose()
      throw new Error('out of memory: a compute graph could not be allocated')
    }
  }

  /** Bytes that the graph and its intermediate results take. */
  get memory(): number {
    const results = this.allocator === null ? 0 : Number(this.f.ggml_gallocr_get_buffer_size(this.allocator, 0))
    return this.context.bytes + results
  }

  /** True where the graph uses an input, which else has no memory. */
  uses(t: Tensor): boolean {
    return this.f.ggml_get_data(pointerOf(t)) !== null
  }

  /** Memory of an input or output. Do not keep it beyond `dispose`. */
  bytes(t: Tensor): ArrayBuffer {
    if (this.allocator === null || this.disposed) throw new Error('the graph has no memory')
    must(t.contiguous, 'bytes', t)
    const data: Pointer | null = this.f.ggml_get_data(pointerOf(t))
    if (data === null) throw new Error(`${t.toString()} has no memory: nothing in the graph uses it`)
    return koffi.view(data, t.bytes)
  }

  /** Computes the graph; a promise where it runs off the event loop. */
  compute(): void | Promise<void> {
    if (this.allocator === null || this.disposed) throw new Error('the graph has no memory')
    const start = performance.now()
    const done = this.backend.compute(this.graph, this.lastMs)
    if (done === undefined) return this.note(performance.now() - start)
    return done.then(() => this.note(performance.now() - start))
  }

  private note(ms: number): void {
    this.lastMs = ms
    // The least of late: what it takes where nothing is in its way. It may rise by a hundredth each time.
    this.usualMs = Math.min(this.usualMs * 1.01, ms)
    this.backend.took(ms, this.usualMs)
  }

  /** Computes on this thread and gives the time it took, in ms. */
  computeNow(): number {
    this.lastMs = 0
    void this.compute()
    return this.lastMs
  }

  dispose(): void {
    if (this.disposed) return
    this.disposed = true
    if (this.allocator !== null) this.f.ggml_gallocr_free(this.allocator)
    this.context.dispose()
  }

  private node(op: GgmlFunctions[keyof GgmlFunctions], type: TensorType, shape: Shape, ...operands: Tensor[]): Tensor {
    this.context.take()
    return new Tensor(op(this.context.pointer, ...operands.map(pointerOf)), type, shape)
  }

  private mustRepeat(op: string, a: Tensor, b: Tensor): void {
    must(a.type === 'f32' && b.type === 'f32' && a.shape[0] === b.shape[0], op, a, b)
    must(b.rows === 1 || same(a.shape, b.shape), op, a, b)
  }
}

function fullRow(a: Tensor, columns: number): number {
  return (columns / (a.shape[0] || 1)) * (a.strides[1] || 0)
}

function same(a: Shape, b: Shape): boolean {
  return a.every((n, i) => n === b[i])
}

function must(holds: boolean, op: string, ...tensors: Tensor[]): void {
  if (!holds) throw new RangeError(`${op} cannot take ${tensors.map(String).join(', ')}`)
}
