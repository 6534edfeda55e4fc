import { openSafetensors } from '../src/checkpoint/safetensors.js'
import { TENSOR_TYPES, type TensorType } from '../src/checkpoint/tensor-type.js'

/** Blocks of one GGUF type and the numbers in them. */
export interface RecordedBlocks {
  readonly type: TensorType
  readonly count: number
  readonly blocks: Uint8Array
  readonly values: Float32Array
}

const FILES = ['blocks', 'more-blocks'].map((name) => `test/fixtures/gguf/${name}.safetensors`)

/** What gguf-py reads in blocks of every quantised type that weights can have; see test/fixtures/gguf/record.py. */
export async function recordedBlocks(): Promise<RecordedBlocks[]> {
  const recorded: RecordedBlocks[] = []
  for (const path of FILES) {
    const file = await openSafetensors(path)
    for (const { name, shape, bytes } of file.tensors.values()) {
      if (!name.endsWith('.blocks')) continue
      const type = name.slice(0, -'.blocks'.length)
      const blocks = new Uint8Array(bytes)
      await file.readBytes(name, 0, blocks)
      const values = await file.readFloats(`${type}.values`)
      recorded.push({ type: type.toLowerCase() as TensorType, count: shape[0]!, blocks, values })
    }
    await file.close()
  }
  return recorded
}

/** A matrix of such blocks, each some times over: its bytes, and its values row by row. */
export function matrixOf(
  { type, count, blocks, values }: RecordedBlocks,
  rows: number,
  columns: number,
): { bytes: Uint8Array; values: Float32Array } {
  const { blockSize, blockBytes } = TENSOR_TYPES[type]
  const total = (rows * columns) / blockSize
  const out = { bytes: new Uint8Array(total * blockBytes), values: new Float32Array(rows * columns) }
  for (let i = 0; i < total; i++) {
    // Not in order, so that no two rows are the same.
    const from = (i + Math.floor(i / count)) % count
    out.bytes.set(blocks.subarray(from * blockBytes, (from + 1) * blockBytes), i * blockBytes)
    out.values.set(values.subarray(from * blockSize, (from + 1) * blockSize), i * blockSize)
  }
  return out
}

/** Null where numbers are the recorded ones, else the first that is not: equal on x64; elsewhere a product and a sum may be rounded once. */
export function firstDifference(values: Float32Array, expected: Float32Array): string | null {
  if (values.length !== expected.length) return `${values.length} values for ${expected.length}`
  const largest = expected.reduce((most, v) => Math.max(most, Math.abs(v)), 0)
  const allowed = process.arch === 'x64' ? 0 : 1e-6 * largest
  const off = values.findIndex((v, i) => !(Math.abs(v - expected[i]!) <= allowed))
  return off < 0 ? null : `${off}: ${values[off]} for ${expected[off]}`
}
