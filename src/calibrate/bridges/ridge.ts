import type { Backend } from '../../ggml/backend.js'
import { ColumnProducts } from '../../ggml/row-algebra.js'
import { cholesky, choleskySolveAll } from '../cholesky.js'

/** Ridges that are tried; each is a share of an input's own second moment. */
export const RIDGES: readonly number[] = [1e-4, 1e-2, 1e-1, 1]

/** y = W^T [x; 1], as it was fitted. */
export interface LinearMap {
  /** [inputs + 1][outputs]; the last row is the bias. */
  readonly weights: readonly Float64Array[]
  /** Second moments of [x; 1] that it was fitted on: [inputs + 1][inputs + 1]. */
  readonly moments: readonly Float64Array[]
}

/** sum w^2 [x; 1] [x; 1]^T, sum w^2 [x; 1] y^T and sum w^2 |y|^2. */
export interface MomentSums {
  readonly a: readonly Float64Array[]
  readonly b: readonly Float64Array[]
  readonly squares: number
}

/** Second moments of weighted rows [x; 1; y], float32 products summed in float64. */
export class Moments {
  private readonly products: ColumnProducts
  private targetSquares = 0

  constructor(
    backend: Backend,
    private readonly inputs: number,
    private readonly outputs: number,
    /** False where maps are to have no bias. */
    private readonly bias = true,
  ) {
    this.products = new ColumnProducts(backend, inputs + 1, inputs + 1 + outputs)
  }

  /** @param x [inputs] @param y [outputs] @param weight of the row: 1 / rms of the target, so that no row rules the fit */
  add(x: Float32Array, y: Float32Array, weight: number): void {
    const row = new Float32Array(this.inputs + 1 + this.outputs)
    row.set(x)
    row[this.inputs] = 1
    row.set(y, this.inputs + 1)
    for (let i = 0; i < row.length; i++) row[i] = row[i]! * weight
    for (let i = this.inputs + 1; i < row.length; i++) this.targetSquares += row[i]! ** 2
    this.products.add(row.subarray(0, this.inputs + 1), row)
  }

  sums(): MomentSums {
    this.products.flush()
    const n = this.inputs + 1
    const a = this.products.sums.map((row) => row.slice(0, n))
    const b = this.products.sums.map((row) => row.slice(n))
    if (!this.bias) {
      // Where the constant goes with nothing, its weights are zero.
      for (const row of a.slice(0, -1)) row[this.inputs] = 0
      a[this.inputs]!.fill(0, 0, this.inputs)
      b[this.inputs]!.fill(0)
    }
    return { a, b, squares: this.targetSquares }
  }

  dispose(): void {
    this.products.dispose()
  }
}

/**
 * Least squares with a ridge in proportion to each input's own second moment, W = (A + ridge diag(A))^-1 B; the bias has none.
 */
export function solveRidge(a: readonly Float64Array[], b: readonly Float64Array[], ridge: number): LinearMap {
  const weights = b.map((row) => Float64Array.from(row))
  choleskySolveAll(ridgeFactor(a, ridge), weights)
  return { weights, moments: a }
}

/** Cholesky factor of A + ridge diag(A), the bias without a ridge. */
export function ridgeFactor(a: readonly Float64Array[], ridge: number): readonly Float64Array[] {
  let least = Number.MIN_VALUE
  const regular = a.map((row, i) => {
    const copy = Float64Array.from(row)
    if (i < a.length - 1) copy[i] = copy[i]! * (1 + ridge)
    least = Math.max(least, copy[i]! * 1e-14)
    return copy
  })
  return cholesky(regular, least)
}

/** The share of the targets' squares that a map leaves unexplained on rows that had no part in its fit. */
export function unexplained(weights: readonly Float64Array[], { a, b, squares }: MomentSums): number {
  const outputs = b[0]?.length ?? 0
  let error = squares
  const product = new Float64Array(outputs)
  for (let i = 0; i < weights.length; i++) {
    product.fill(0)
    for (let k = 0; k < weights.length; k++) {
      const moment = a[i]![k]!
      for (let j = 0; j < outputs; j++) product[j] = product[j]! + moment * weights[k]![j]!
    }
    for (let j = 0; j < outputs; j++) error += weights[i]![j]! * (product[j]! - 2 * b[i]![j]!)
  }
  return error / squares
}

/** The map whose ridge does best on the rows of `choice`, fitted on all rows. Where one ridge is given it is taken untried. */
export function chooseRidge(
  fit: Moments,
  choice: Moments,
  ridges: readonly number[] = RIDGES,
): { readonly map: LinearMap; readonly ridge: number; readonly unexplained: number | null } {
  const own = fit.sums()
  const tried = ridges.map((ridge) => ({
    ridge,
    share: ridges.length === 1 ? null : unexplained(solveRidge(own.a, own.b, ridge).weights, choice.sums()),
  }))
  const best = tried.reduce((least, one) => ((one.share ?? 0) < (least.share ?? 0) ? one : least))
  const other = choice.sums()
  const sum = (x: readonly Float64Array[], y: readonly Float64Array[]): Float64Array[] =>
    x.map((row, i) => row.map((value, j) => value + y[i]![j]!))
  const map = solveRidge(sum(own.a, other.a), sum(own.b, other.b), best.ridge)
  return { map, ridge: best.ridge, unexplained: best.share }
}
