import { rowBytes, TENSOR_TYPES, type TensorType } from '../checkpoint/tensor-type.js'
import type { Pointer } from './library.js'

export type Shape = readonly [number, number, number, number]

const pointers = new WeakMap<Tensor, Pointer>()

/**
 * A tensor of ggml: a type, a shape in ggml's order (`shape[0]` is the contiguous dimension) and strides in bytes. What
 * it points to belongs to the graph or store that made it.
 */
export class Tensor {
  readonly type: TensorType
  readonly shape: Shape
  readonly strides: Shape

  constructor(pointer: Pointer, type: TensorType, shape: Shape, strides: Shape = contiguousStrides(type, shape)) {
    this.type = type
    this.shape = shape
    this.strides = strides
    pointers.set(this, pointer)
  }

  get elements(): number {
    return this.shape[0] * this.shape[1] * this.shape[2] * this.shape[3]
  }

  get rows(): number {
    return this.shape[1] * this.shape[2] * this.shape[3]
  }

  /** Bytes of a contiguous tensor of this type and shape. */
  get bytes(): number {
    return rowBytes(this.type, this.shape[0]) * this.rows
  }

  get contiguous(): boolean {
    const expected = contiguousStrides(this.type, this.shape)
    return this.shape.every((n, i) => n === 1 || expected[i] === this.strides[i])
  }

  toString(): string {
    return `${this.type}[${this.shape.join(', ')}]`
  }
}

/** For src/ggml only. */
export function pointerOf(tensor: Tensor): Pointer {
  return pointers.get(tensor) as Pointer
}

export function contiguousStrides(type: TensorType, shape: Shape): Shape {
  const row = rowBytes(type, shape[0])
  return [TENSOR_TYPES[type].blockBytes, row, row * shape[1], row * shape[1] * shape[2]]
}

/** Fills a shape up to four dimensions and checks that a tensor can have it. */
export function fullShape(type: TensorType, shape: readonly number[]): Shape {
  const full = [shape[0] ?? 1, shape[1] ?? 1, shape[2] ?? 1, shape[3] ?? 1] as const
  if (shape.length > 4 || full.some((n) => !Number.isSafeInteger(n) || n < 1)) {
    throw new RangeError(`no tensor has the shape [${shape.join(', ')}]`)
  }
  if (full[0] % TENSOR_TYPES[type].blockSize !== 0) {
    throw new RangeError(
      `rows of ${full[0]} elements cannot be ${type}: its blocks hold ${TENSOR_TYPES[type].blockSize}`,
    )
  }
  return full
}

/** Refuses what an operation cannot take. */
export function must(holds: boolean, op: string, ...tensors: Tensor[]): void {
  if (!holds) throw new RangeError(`${op} cannot take ${tensors.map(String).join(', ')}`)
}
