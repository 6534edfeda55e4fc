import type { TensorSource } from '../checkpoint/safetensors.js'
import type { FoundTensor } from './find-tensor.js'

/** Reads rows of a tensor, as the package has them, from wherever they stand in a checkpoint. */
export interface RowReader {
  /** Fills `out` with `count` rows from row `start` on. */
  read(start: number, count: number, out: Float32Array): Promise<void>
}

/** Rows that are wanted may lie apart: a stretch of a file up to so many times as long is read at once. */
const MOST_SPREAD = 4

/** A reader for a tensor that was found; one block of its rows, or one matrix where it is transposed, is held. */
export function rowReader(weights: TensorSource, found: FoundTensor, columns: number): RowReader {
  if (columns === 1) return vectorReader(weights, found)
  return found.transposed === true ? transposedReader(weights, found, columns) : matrixReader(weights, found, columns)
}

/** Biases and norms are small: all of them is read, and values are picked. */
function vectorReader(weights: TensorSource, { names, row = same }: FoundTensor): RowReader {
  let all: Float32Array | null = null
  return {
    async read(start, count, out) {
      all ??= await readAll(weights, names)
      for (let i = 0; i < count; i++) out[i] = all[row(start + i)] as number
    },
  }
}

async function readAll(weights: TensorSource, names: readonly string[]): Promise<Float32Array> {
  const parts: Float32Array[] = []
  for (const name of names) parts.push(await weights.readFloats(name))
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

function matrixReader(weights: TensorSource, { names, shape, row = same }: FoundTensor, columns: number): RowReader {
  const height = shape.slice(0, -1).reduce((product, n) => product * n, 1)
  let span = new Float32Array(0)
  return {
    async read(start, count, out) {
      const places = Array.from({ length: count }, (_, i) => row(start + i))
      for (const { from, to, first, last } of stretches(places, height)) {
        const rows = last - first + 1
        const direct = rows === to - from && places.slice(from, to).every((place, i) => place === first + i)
        if (!direct && span.length < rows * columns) span = new Float32Array(rows * columns)
        const target = direct ? out.subarray(from * columns, to * columns) : span
        const name = names[Math.floor(first / height)] as string
        const range = shape.length === 1 ? undefined : { start: first % height, count: rows }
        const read = await weights.readFloats(name, range, target)
        if (direct) continue
        for (let i = from; i < to; i++) {
          const at = ((places[i] as number) - first) * columns
          out.set(read.subarray(at, at + columns), i * columns)
        }
      }
    },
  }
}

/** Runs of wanted rows that lie in one tensor and not too far apart: places from .. to - 1 within rows first .. last. */
export function stretches(
  places: readonly number[],
  height: number,
): { from: number; to: number; first: number; last: number }[] {
  const found: { from: number; to: number; first: number; last: number }[] = []
  const most = MOST_SPREAD * places.length
  for (const [i, place] of places.entries()) {
    const run = found.at(-1)
    const first = Math.min(place, run?.first ?? place)
    const last = Math.max(place, run?.last ?? place)
    if (run === undefined || Math.floor(first / height) !== Math.floor(last / height) || last - first >= most) {
      found.push({ from: i, to: i + 1, first: place, last: place })
    } else Object.assign(run, { to: i + 1, first, last })
  }
  return found
}

/** Each matrix is stored as [columns, rows]: one at a time is read and turned. */
function transposedReader(
  weights: TensorSource,
  { names, shape, row = same }: FoundTensor,
  columns: number,
): RowReader {
  const height = shape.at(-1) as number
  const perTensor = shape.slice(0, -2).reduce((product, n) => product * n, 1)
  const turned = new Float32Array(height * columns)
  let held = -1
  const hold = async (matrix: number): Promise<void> => {
    const name = names[Math.floor(matrix / perTensor)] as string
    const stored = await weights.readFloats(name, { start: (matrix % perTensor) * columns, count: columns })
    for (let r = 0; r < height; r++) {
      for (let c = 0; c < columns; c++) turned[r * columns + c] = stored[c * height + r] as number
    }
    held = matrix
  }
  return {
    async read(start, count, out) {
      for (let i = 0; i < count; i++) {
        const place = row(start + i)
        const matrix = Math.floor(place / height)
        if (matrix !== held) await hold(matrix)
        const at = (place % height) * columns
        out.set(turned.subarray(at, at + columns), i * columns)
      }
    },
  }
}

function same(row: number): number {
  return row
}
