import type { Backend } from '../../ggml/backend.js'
import { productCosts } from '../../ggml/product-cost.js'
import { type BufferChoice, type FileTensor, supportsProduct, type WeightUse } from '../../ggml/weights.js'
import { throwIfAborted } from './aborted.js'
import { type MachineMemory, machineName } from './machine-memory.js'

/** Rows that a matrix is measured with, and what each counts: decoding first, then batches, then prompts. */
const ROWS: readonly (readonly [rows: number, weight: number])[] = [
  [1, 0.6],
  [8, 0.2],
  [128, 0.2],
]
/** A matrix in the heap of a vocabulary stands for all of its kind when this many rows of it are measured. */
const MOST_MEASURED_ROWS = 8192
const PLAIN = 'plain'

/**
 * Which buffer type serves each matrix best on this machine: measured once per processor, ggml version, number of
 * threads, element type and shape, and remembered; of a stack of experts one matrix is measured for all. On an AMX machine a q4_0 matrix of 2048 x 5632 takes
 * 0.19 ms there, 0.81 in CPU_REPACK and 1.06 in plain memory.
 */
export async function chooseBuffers(
  backend: Backend,
  uses: readonly WeightUse[],
  memory: MachineMemory,
  signal?: AbortSignal,
): Promise<BufferChoice> {
  const extra = [...backend.extraBufferTypes().keys()]
  const candidates = new Map<string, { tensor: FileTensor; buffers: string[] }>()
  for (const { tensor, product } of uses) {
    const key = keyOf(backend, tensor)
    if (!product || candidates.has(key)) continue
    const buffers = extra.filter((name) => supportsProduct(backend, name, tensor.type, tensor.shape))
    candidates.set(key, { tensor, buffers })
  }
  const choices = new Map<string, string | null>()
  const before = backend.gaveWay
  const learned: Record<string, string> = {}
  for (const [key, { tensor, buffers }] of candidates) {
    if (buffers.length === 0) {
      choices.set(key, null)
      continue
    }
    const known = memory.get(key)
    const holds = known === PLAIN || (typeof known === 'string' && buffers.includes(known))
    const choice = holds ? known : ((await fastest(backend, tensor, buffers, signal)) ?? PLAIN)
    if (!holds) learned[key] = choice
    choices.set(key, choice === PLAIN ? null : choice)
  }
  // What was weighed beside a busy program is weighed again next time.
  if (backend.gaveWay === before) await memory.add(learned)
  return (tensor) => choices.get(keyOf(backend, tensor)) ?? null
}

function keyOf(backend: Backend, { type, shape }: FileTensor): string {
  return `${machineName(backend)} | ${type} ${shape.join('x')}`
}

/** The buffer type with the least weighted cost, each number of rows relative to the best there; null for plain memory. */
async function fastest(
  backend: Backend,
  tensor: FileTensor,
  buffers: readonly string[],
  signal: AbortSignal | undefined,
): Promise<string | null> {
  const shape = [tensor.shape[0] ?? 1, Math.min(tensor.shape[1] ?? 1, MOST_MEASURED_ROWS)] as const
  const all = [null, ...buffers]
  const score = new Map<string | null, number>(all.map((name) => [name, 0]))
  const rows = ROWS.map(([count]) => count)
  const costs: number[][] = []
  for (const name of all) {
    throwIfAborted(signal)
    costs.push(await productCosts(backend, name, tensor.type, shape, rows))
  }
  for (const [r, [, weight]] of ROWS.entries()) {
    const least = Math.min(...costs.map((of) => of[r] as number))
    all.forEach((name, i) => {
      score.set(name, (score.get(name) as number) + weight * ((costs[i]![r] as number) / least))
    })
  }
  return [...score].reduce((best, next) => (next[1] < best[1] ? next : best))[0]
}
