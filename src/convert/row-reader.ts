import type { ExactBlocks, RowRange, TensorSource } from '../checkpoint/safetensors.js'
import { rowBytes, type TensorType } from '../checkpoint/tensor-type.js'
import type { FoundTensor } from './find-tensor.js'

/** Reads rows of a tensor, as the package has them, from wherever they stand in a checkpoint. */
export interface RowReader<T extends Float32Array | Uint8Array> {
  /** Fills `out` with `count` rows from row `start` on. */
  read(start: number, count: number, out: T): Promise<void>
}

/** Rows that are wanted may lie apart: a stretch of a file up to so many times as long is read at once. */
const MOST_SPREAD = 4

/** A reader of values; one block of rows, or one matrix where it is transposed, is held. */
export function rowReader(weights: TensorSource, found: FoundTensor, columns: number): RowReader<Float32Array> {
  if (columns === 1) return vectorReader(weights, found)
  if (found.transposed === true) return transposedReader(weights, found, columns)
  const one = found.shape.length === 1
  return matrixReader<Float32Array>(
    found,
    columns,
    (length) => new Float32Array(length),
    (name, range, out) =>
      // The values of a list are rows of one value each.
      weights.readFloats(name, one ? undefined : range, out),
  )
}

/** The blocks of a matrix that a quantised checkpoint has in a GGUF type already, or null where it has not. */
export function exactReader(
  weights: TensorSource,
  found: FoundTensor,
  columns: number,
): { type: TensorType; reader: RowReader<Uint8Array> } | null {
  if (found.transposed === true || columns === 1) return null
  const blocks = new Map<string, ExactBlocks>()
  for (const name of found.names) {
    const exact = weights.exactBlocks?.(name) ?? null
    if (exact === null) return null
    blocks.set(name, exact)
  }
  const [{ type }] = [...blocks.values()] as [ExactBlocks]
  if ([...blocks.values()].some((other) => other.type !== type)) return null
  const reader = matrixReader<Uint8Array>(
    found,
    rowBytes(type, columns),
    (length) => new Uint8Array(length),
    async (name, range, out) => {
      await (blocks.get(name) as ExactBlocks).readRows(range, out)
      return out
    },
  )
  return { type, reader }
}

/** Biases and norms are small: all of them is read, and values are picked. */
function vectorReader(weights: TensorSource, { names, row = same }: FoundTensor): RowReader<Float32Array> {
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

/** @param width elements of a row */
function matrixReader<T extends Float32Array | Uint8Array>(
  { names, shape, row = same }: FoundTensor,
  width: number,
  make: (length: number) => T,
  readRows: (name: string, range: RowRange, out: T) => Promise<T>,
): RowReader<T> {
  const height = shape.slice(0, -1).reduce((product, n) => product * n, 1)
  let span = make(0)
  return {
    async read(start, count, out) {
      const places = Array.from({ length: count }, (_, i) => row(start + i))
      for (const { from, to, first, last } of stretches(places, height)) {
        const rows = last - first + 1
        const direct = rows === to - from && places.slice(from, to).every((place, i) => place === first + i)
        if (!direct && span.length < rows * width) span = make(rows * width)
        const target = (direct ? out : span).subarray(...(direct ? [from * width, to * width] : [0, rows * width])) as T
        const name = names[Math.floor(first / height)] as string
        const read = await readRows(name, { start: first % height, count: rows }, target)
        if (direct) continue
        for (let i = from; i < to; i++) {
          const at = ((places[i] as number) - first) * width
          out.set(read.subarray(at, at + width), i * width)
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
): RowReader<Float32Array> {
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
