import type { TensorType } from '../checkpoint/tensor-type.js'
import type { Backend } from './backend.js'
import { Graph } from './graph.js'
import { StoredTensor } from './store.js'

/** Rows that are multiplied in float32 before they are summed in float64. */
const BLOCK = 256

/**
 * Sums of products of columns over rows, A^T B with A [rows, a] and B [rows, b]: blocks of rows in float32 by ggml, their
 * sums in float64.
 */
export class ColumnProducts {
  /** [a][b] */
  readonly sums: readonly Float64Array[]
  private readonly graph: Graph
  private readonly left: Float32Array
  private readonly right: Float32Array
  private readonly out: Float32Array
  private filled = 0

  constructor(
    backend: Backend,
    private readonly a: number,
    private readonly b: number,
  ) {
    this.sums = Array.from({ length: a }, () => new Float64Array(b))
    const g = new Graph(backend, 16)
    const left = g.input('f32', a, BLOCK)
    const right = g.input('f32', b, BLOCK)
    // A product of matrices runs along their first dimension.
    const out = g.output(g.mulMat(g.transpose(right), g.transpose(left)))
    g.allocate()
    this.graph = g
    this.left = new Float32Array(g.bytes(left))
    this.right = new Float32Array(g.bytes(right))
    this.out = new Float32Array(g.bytes(out))
  }

  /** Adds one row. @param left [a] @param right [b] */
  add(left: ArrayLike<number>, right: ArrayLike<number>): void {
    const row = this.filled++
    this.left.set(left, row * this.a)
    this.right.set(right, row * this.b)
    if (this.filled === BLOCK) this.flush()
  }

  /** To be called before `sums` is read. */
  flush(): void {
    if (this.filled === 0) return
    // A graph may write over its inputs, so none of the rest is left from the block before.
    this.left.fill(0, this.filled * this.a)
    this.right.fill(0, this.filled * this.b)
    this.graph.computeNow()
    this.sums.forEach((sum, i) => {
      const at = i * this.b
      for (let j = 0; j < this.b; j++) sum[j] = (sum[j] as number) + (this.out[at + j] as number)
    })
    this.filled = 0
  }

  dispose(): void {
    this.graph.dispose()
  }
}

/** A linear map with bias over rows, as graphs compute it: rows times matrices that may be quantised. */
export class RowMap {
  private readonly graph: Graph
  private readonly stored: readonly StoredTensor[]
  private readonly input: Float32Array
  private readonly output: Float32Array

  /** @param factors matrices in the order in which they apply */
  constructor(
    backend: Backend,
    factors: readonly {
      readonly type: TensorType
      readonly columns: number
      readonly rows: number
      readonly data: Uint8Array
    }[],
    private readonly bias: Float32Array,
  ) {
    this.stored = factors.map(({ type, columns, rows, data }) => {
      const stored = new StoredTensor(backend, type, columns, rows)
      stored.view.set(data)
      return stored
    })
    const g = new Graph(backend, 16)
    const x = g.input('f32', factors[0]?.columns ?? 0, BLOCK)
    const out = g.output(this.stored.reduce((rows, { tensor }) => g.mulMat(tensor, rows), x))
    g.allocate()
    this.graph = g
    this.input = new Float32Array(g.bytes(x))
    this.output = new Float32Array(g.bytes(out))
  }

  /** Shows what comes of every row, which is valid during the call. @param rows one after the other */
  each(count: number, rows: (index: number) => Float32Array, see: (index: number, mapped: Float32Array) => void): void {
    const from = this.input.length / BLOCK
    const to = this.output.length / BLOCK
    for (let first = 0; first < count; first += BLOCK) {
      const some = Math.min(BLOCK, count - first)
      for (let i = 0; i < some; i++) this.input.set(rows(first + i), i * from)
      this.input.fill(0, some * from)
      this.graph.computeNow()
      for (let i = 0; i < some; i++) {
        const mapped = this.output.subarray(i * to, (i + 1) * to)
        for (let j = 0; j < to; j++) mapped[j] = (mapped[j] as number) + (this.bias[j] as number)
        see(first + i, mapped)
      }
    }
  }

  dispose(): void {
    this.graph.dispose()
    for (const stored of this.stored) stored.dispose()
  }
}
