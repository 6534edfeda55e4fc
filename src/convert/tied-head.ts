import type { TensorSource } from '../checkpoint/safetensors.js'

const HEAD = 'lm_head.weight'
/** Values compared at a time. */
const BLOCK_VALUES = 1024 * 1024

/**
 * A checkpoint whose head is its embedding may hold a head all the same. It is not read, as config.json says; where it is
 * another matrix, somebody may have meant it.
 */
export async function tiedHeadWarnings(weights: TensorSource, embedding: string): Promise<string[]> {
  if (!weights.tensors.has(HEAD) || (await areEqual(weights, embedding, HEAD))) return []
  return [
    `${HEAD} differs from ${embedding} and is not used: config.json says tie_word_embeddings; set it to false to use it`,
  ]
}

async function areEqual(weights: TensorSource, first: string, second: string): Promise<boolean> {
  const [a, b] = [weights.tensors.get(first), weights.tensors.get(second)]
  if (a === undefined || b === undefined || a.shape.join() !== b.shape.join()) return false
  if (![a, b].every(({ dtype }) => dtype === 'F32' || dtype === 'F16' || dtype === 'BF16')) return false
  const [rows = 1, ...rest] = a.shape
  const columns = rest.reduce((product, n) => product * n, 1)
  const step = Math.max(1, Math.floor(BLOCK_VALUES / Math.max(1, columns)))
  for (let start = 0; start < rows; start += step) {
    const range = { start, count: Math.min(step, rows - start) }
    const left = await weights.readFloats(first, range)
    const right = await weights.readFloats(second, range)
    if (left.some((value, i) => value !== right[i])) return false
  }
  return true
}
