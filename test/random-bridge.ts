import type { Bridge, BridgeInput, BridgeMatrix, Gap } from '../src/depth/bridge.js'
import { quantize } from '../src/ggml/quantize.js'

export interface RandomBridgeShape {
  readonly hidden: number
  readonly seed: number
  /** Of the largest weight; biases are up to twice as large. Default 0.1. */
  readonly size?: number
  readonly on?: BridgeInput
  readonly rank?: number
}

/** A bridge in f32 of numbers that look random and are the same each time. */
export function randomBridge(gap: Gap, { hidden, seed, size = 0.1, on = 'hidden', rank }: RandomBridgeShape): Bridge {
  const factors =
    rank === undefined
      ? [matrix(seed, hidden, hidden, size)]
      : [matrix(seed, rank, hidden, size), matrix(seed + 50, hidden, rank, size)]
  return { ...gap, on, factors, bias: noise(seed + 7, hidden, 2 * size) }
}

function noise(seed: number, count: number, size: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => size * ((Math.sin(seed * 91.7 + i * 12.9) * 43758.5) % 1))
}

function matrix(seed: number, rows: number, columns: number, size: number): BridgeMatrix {
  const values = noise(seed, rows * columns, 2 * size)
  const data = new Uint8Array(values.length * 4)
  quantize('f32', values, rows, columns, data)
  return { type: 'f32', rows, columns, data }
}
