import { isWeightType, type TensorType } from '../checkpoint/tensor-type.js'
import type { Context } from './context.js'
import { type GgmlFunctions, ggml } from './library.js'
import { fullShape, must, pointerOf, type Shape, Tensor } from './tensor.js'

/**
 * The operations that graphs are made of. Each checks types and shapes first, because ggml ends the process where they do
 * not fit.
 */
export class Operations {
  protected readonly f: GgmlFunctions = ggml().functions

  constructor(protected readonly context: Context) {}

  /** Rows of each matrix of a stack: a [n, r, s], ids i32 [k, s] -> f32 [n, k, s]; ids may be a view. */
  getRows(a: Tensor, ids: Tensor): Tensor {
    must(isWeightType(a.type), 'getRows', a, ids)
    must(ids.type === 'i32' && ids.shape[2] === 1 && a.shape[2] === ids.shape[1] && a.shape[3] === 1, 'getRows', a, ids)
    return this.node(this.f.ggml_get_rows, 'f32', [a.shape[0], ids.shape[0], ids.shape[1], 1], a, ids)
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

  /** Elementwise quotient; b may be one row, or one number for each row. */
  div(a: Tensor, b: Tensor): Tensor {
    this.mustRepeat('div', a, b)
    return this.node(this.f.ggml_div, 'f32', a.shape, a, b)
  }

  scale(a: Tensor, factor: number): Tensor {
    must(a.type === 'f32' && a.contiguous && Number.isFinite(factor), 'scale', a)
    this.context.take()
    return new Tensor(this.f.ggml_scale(this.context.pointer, pointerOf(a), factor), 'f32', a.shape)
  }

  clamp(a: Tensor, least: number, most: number): Tensor {
    must(a.type === 'f32' && a.contiguous && least <= most, 'clamp', a)
    this.context.take()
    const p = this.f.ggml_clamp(this.context.pointer, pointerOf(a), least, most)
    return new Tensor(p, 'f32', a.shape)
  }

  /** The sum of every row: [n, r] -> [1, r]. */
  sumRows(a: Tensor): Tensor {
    must(a.type === 'f32', 'sumRows', a)
    return this.node(this.f.ggml_sum_rows, 'f32', [1, a.shape[1], a.shape[2], a.shape[3]], a)
  }

  tanh(a: Tensor): Tensor {
    return this.unary(this.f.ggml_tanh, 'tanh', a)
  }

  sigmoid(a: Tensor): Tensor {
    return this.unary(this.f.ggml_sigmoid, 'sigmoid', a)
  }

  square(a: Tensor): Tensor {
    return this.unary(this.f.ggml_sqr, 'square', a)
  }

  /** a, laid out contiguously. */
  contiguous(a: Tensor): Tensor {
    return a.contiguous ? a : this.node(this.f.ggml_cont, a.type, a.shape, a)
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

  protected node(
    op: GgmlFunctions[keyof GgmlFunctions],
    type: TensorType,
    shape: Shape,
    ...operands: Tensor[]
  ): Tensor {
    this.context.take()
    return new Tensor(op(this.context.pointer, ...operands.map(pointerOf)), type, shape)
  }

  /** Every dimension of b is a's or 1. */
  protected mustRepeat(op: string, a: Tensor, b: Tensor): void {
    must(a.type === 'f32' && b.type === 'f32' && b.shape.every((n, i) => n === 1 || n === a.shape[i]), op, a, b)
  }

  protected unary(op: GgmlFunctions[keyof GgmlFunctions], name: string, a: Tensor): Tensor {
    must(a.type === 'f32' && a.contiguous, name, a)
    return this.node(op, 'f32', a.shape, a)
  }
}

function fullRow(a: Tensor, columns: number): number {
  return (columns / (a.shape[0] || 1)) * (a.strides[1] || 0)
}
