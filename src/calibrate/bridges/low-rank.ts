import { createRandomStream } from '../../engine/schedule/random-stream.js'
import type { LinearMap } from './ridge.js'

/** Rounds of subspace iteration; each raises a ratio of eigenvalues to the next power. */
const ROUNDS = 8
/** Directions beside those that are wanted, which let the last of these settle. */
const SPARE = 8

/**
 * The leading directions of a map's own output: eigenvectors of the covariance that its outputs had on the rows of the fit, by
 * subspace iteration. Rows of the result are directions: [rank][outputs], orthonormal.
 */
export function leadingDirections({ weights, moments }: LinearMap, rank: number): Float64Array[] {
  const inputs = weights.length - 1
  const outputs = weights[0]?.length ?? 0
  const count = Math.min(outputs, rank + SPARE)
  const total = moments[inputs]![inputs]!
  // Centred: the bias keeps the mean.
  const means = moments[inputs]!.map((sum) => sum / total)
  const random = createRandomStream(0)
  let basis = orthonormal(
    Array.from({ length: count }, () => Float64Array.from({ length: outputs }, () => random() - 0.5)),
  )
  for (let round = 0; round < ROUNDS; round++) {
    basis = orthonormal(
      basis.map((direction) => {
        const along = Float64Array.from({ length: inputs }, (_, i) => dot(weights[i]!, direction))
        const mean = along.reduce((sum, value, i) => sum + value * means[i]!, 0)
        const spread = Float64Array.from({ length: inputs }, (_, i) => {
          let sum = 0
          for (let j = 0; j < inputs; j++) sum += moments[i]![j]! * along[j]!
          return sum - total * means[i]! * mean
        })
        const next = new Float64Array(outputs)
        for (let i = 0; i < inputs; i++) addTo(next, weights[i]!, spread[i]!)
        return next
      }),
    )
  }
  return basis.slice(0, rank)
}

/** Gram and Schmidt, twice for what rounding leaves; a direction that vanishes is left out. */
function orthonormal(rows: readonly Float64Array[]): Float64Array[] {
  const kept: Float64Array[] = []
  for (const row of rows) {
    const before = Math.sqrt(dot(row, row))
    for (let pass = 0; pass < 2; pass++) for (const other of kept) addTo(row, other, -dot(row, other))
    const length = Math.sqrt(dot(row, row))
    if (!(length > before * 1e-10)) continue
    kept.push(row.map((value) => value / length))
  }
  return kept
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!
  return sum
}

function addTo(to: Float64Array, row: Float64Array, factor: number): void {
  for (let i = 0; i < to.length; i++) to[i] = to[i]! + factor * row[i]!
}
