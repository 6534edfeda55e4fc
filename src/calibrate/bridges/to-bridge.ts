import { rowBytes } from '../../checkpoint/tensor-type.js'
import type { Bridge, BridgeMatrix, BridgeType } from '../../depth/bridge.js'
import { quantize } from '../../ggml/quantize.js'
import { leadingDirections } from './low-rank.js'
import type { LinearMap } from './ridge.js'

/** A fitted map as a bridge: one matrix, or two of a rank below the width. */
export function toBridge(
  map: LinearMap,
  place: Pick<Bridge, 'from' | 'to' | 'on'>,
  { type, rank }: { readonly type: BridgeType; readonly rank: number | null },
): Bridge {
  const { weights } = map
  const inputs = weights.length - 1
  const outputs = weights[0]?.length ?? 0
  const bias = Float32Array.from(weights[inputs]!)
  if (rank === null || rank >= Math.min(inputs, outputs)) {
    const factor = matrix(type, outputs, inputs, (row, column) => weights[column]![row]!)
    return { ...place, factors: [factor], bias }
  }
  const directions = leadingDirections(map, rank)
  // What the projection takes from the mean goes into the bias.
  const total = map.moments[inputs]![inputs]!
  const mean = Float64Array.from({ length: outputs }, (_, j) => {
    let sum = 0
    for (let i = 0; i < inputs; i++) sum += (weights[i]![j]! * map.moments[inputs]![i]!) / total
    return sum
  })
  const down = directions.map((direction) => {
    const row = new Float64Array(inputs)
    for (let i = 0; i < inputs; i++)
      for (let j = 0; j < outputs; j++) row[i] = row[i]! + weights[i]![j]! * direction[j]!
    return row
  })
  const kept = new Float64Array(outputs)
  for (const direction of directions) {
    let along = 0
    for (let j = 0; j < outputs; j++) along += direction[j]! * mean[j]!
    for (let j = 0; j < outputs; j++) kept[j] = kept[j]! + along * direction[j]!
  }
  return {
    ...place,
    factors: [
      matrix(type, directions.length, inputs, (row, column) => down[row]![column]!),
      matrix(fitting(type, directions.length), outputs, directions.length, (row, column) => directions[column]![row]!),
    ],
    bias: bias.map((value, j) => value + mean[j]! - kept[j]!),
  }
}

/** A type whose blocks divide the columns. */
function fitting(type: BridgeType, columns: number): BridgeType {
  return type === 'q8_0' && columns % 32 !== 0 ? 'f16' : type
}

function matrix(
  type: BridgeType,
  rows: number,
  columns: number,
  value: (row: number, column: number) => number,
): BridgeMatrix {
  const values = new Float32Array(rows * columns)
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) values[r * columns + c] = value(r, c)
  const data = new Uint8Array(rows * rowBytes(type, columns))
  quantize(type, values, rows, columns, data)
  return { type, columns, rows, data }
}
