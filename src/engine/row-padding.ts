import type { Backend } from '../ggml/backend.js'
import { productCost } from '../ggml/product-cost.js'
import type { BufferChoice, WeightUse } from '../ggml/weights.js'
import { type MachineMemory, machineName } from './machine-memory.js'

/** How many rows to compute where some are wanted: as many, or a few more where those come cheaper. */
export type RowPadding = (rows: number) => number

/** Rows that CPU_REPACK's kernels take at once; what is left over goes one by one. */
const GROUP = 4
/** Beyond this many rows a few more or less make no difference. */
const MOST_ROWS = 64
/** Four rows must be this much cheaper than fewer. */
const WORTH = 0.95
const MOST_MEASURED_ROWS = 8192

/**
 * Where four rows cost less than two or three, those are filled up with rows that nobody reads: measured on the matrix
 * that the model spends most bytes on, and remembered. On an AMD EPYC a q4_0 matrix of 2048 x 2048 takes 0.093 ms for two
 * rows, 0.139 for three and 0.078 for four.
 */
export async function choosePadding(
  backend: Backend,
  uses: readonly WeightUse[],
  buffers: BufferChoice,
  memory: MachineMemory,
): Promise<RowPadding> {
  const bytes = new Map<string, number>()
  const matrices = uses.filter(({ product, tensor }) => product && buffers(tensor) !== null)
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
  const key = `${machineName(backend)} | ${tensor.type} ${tensor.shape.join('x')} in ${buffer} | rows filled up`
  const known = memory.get(key)
  const holds = typeof known === 'string' && ['from 2', 'from 3', 'never'].includes(known)
  const choice = holds ? known : measure()
  if (!holds) await memory.add({ [key]: choice })
  const from = choice === 'never' ? GROUP : Number(choice.slice(-1))
  return (rows) => (rows <= MOST_ROWS && rows % GROUP >= from ? rows + GROUP - (rows % GROUP) : rows)

  function measure(): string {
    const shape = [tensor.shape[0] ?? 1, Math.min(tensor.shape[1] ?? 1, MOST_MEASURED_ROWS)] as const
    const cost = (rows: number) => productCost(backend, buffer, tensor.type, shape, rows)
    const four = cost(GROUP)
    if (four < WORTH * cost(2)) return 'from 2'
    return four < WORTH * cost(3) ? 'from 3' : 'never'
  }
}
