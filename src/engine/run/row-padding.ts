import { TENSOR_TYPES } from '../../checkpoint/tensor-type.js'
import type { Backend } from '../../ggml/backend.js'
import { BYTES_IN_TURN, productCosts } from '../../ggml/product-cost.js'
import type { BufferChoice, WeightUse } from '../../ggml/weights.js'
import { throwIfAborted } from './aborted.js'
import { type MachineMemory, machineName } from './machine-memory.js'

/** How many rows to compute where some are wanted: as many, or a few more where those come cheaper. */
export type RowPadding = (rows: number) => number

/** Beyond these a few rows more or less make little difference. */
const ROWS = Array.from({ length: 16 }, (_, i) => i + 1)
/** More rows must be this much cheaper than fewer. */
const WORTH = 0.95
const MOST_MEASURED_ROWS = 8192

/**
 * ggml's kernels for quantised matrices take rows by fours or eights and what is left over one by one, so that three rows may
 * cost more than four. Where they do, the rows are filled up with some that nobody reads: measured on the matrix that the
 * model spends most bytes on, and remembered. On an AMD EPYC a q4_0 matrix of 2048 x 5632 takes 0.27 ms for two rows, 0.39 for
 * three and 0.31 for four; in q8_0 1.75 for seven and 1.16 for eight.
 */
export async function choosePadding(
  backend: Backend,
  uses: readonly WeightUse[],
  buffers: BufferChoice,
  memory: MachineMemory,
  signal?: AbortSignal,
): Promise<RowPadding> {
  const bytes = new Map<string, number>()
  const matrices = uses.filter(
    ({ product, stack, tensor }) => product && stack !== true && TENSOR_TYPES[tensor.type].blockSize > 1,
  )
  for (const { tensor } of matrices)
    bytes.set(tensor.shape.join(), (bytes.get(tensor.shape.join()) ?? 0) + tensor.bytes)
  const heaviest = matrices.reduce<WeightUse | null>(
    (most, next) =>
      most !== null && bytes.get(most.tensor.shape.join())! >= bytes.get(next.tensor.shape.join())! ? most : next,
    null,
  )
  if (heaviest === null) return (rows) => rows
  const { tensor } = heaviest
  const buffer = buffers(tensor)
  const shape = [tensor.shape[0] ?? 1, Math.min(tensor.shape[1] ?? 1, MOST_MEASURED_ROWS)] as const
  const total = uses.reduce((sum, { product, tensor: t }) => sum + (product ? t.bytes : 0), 0)
  const bytesInTurn = Math.min(total, BYTES_IN_TURN)
  const where = `${buffer ?? 'plain'}, ${Math.ceil(bytesInTurn / 2 ** 20)} MiB in turn`
  const key = `${machineName(backend)} | ${tensor.type} ${tensor.shape.join('x')} in ${where} | rows filled up`
  const known = read(memory.get(key))
  const before = backend.gaveWay
  if (known === null) throwIfAborted(signal)
  const filled = known ?? fill(await productCosts(backend, buffer, tensor.type, shape, ROWS, { bytesInTurn }))
  if (known === null && backend.gaveWay === before) await memory.add({ [key]: filled.join(' ') })
  return (rows) => filled[rows - 1] ?? rows
}

/** For each number of rows the cheapest number that is not smaller. */
function fill(costs: readonly number[]): number[] {
  return ROWS.map((rows) =>
    ROWS.slice(rows).reduce(
      (best, more) =>
        costs[more - 1]! < WORTH * costs[rows - 1]! && costs[more - 1]! < costs[best - 1]! ? more : best,
      rows,
    ),
  )
}

function read(known: unknown): number[] | null {
  if (typeof known !== 'string') return null
  const filled = known.split(' ').map(Number)
  const holds = filled.length === ROWS.length && filled.every((to, i) => ROWS.includes(to) && to > i)
  return holds ? filled : null
}
