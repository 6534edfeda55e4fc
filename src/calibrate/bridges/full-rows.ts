import { allLayers } from '../../depth/plan.js'
import type { PlanLosses, TextRows } from '../../engine/known-text.js'

/** Hidden rows of texts, one after the other: [rows, H]. */
export class RowBlock {
  constructor(
    readonly values: Float32Array,
    readonly width: number,
  ) {}

  static of(rows: TextRows, which: 'hidden' | 'mlp' = 'hidden'): RowBlock {
    const width = rows[which](0).length
    const values = new Float32Array(rows.count * width)
    for (let i = 0; i < rows.count; i++) values.set(rows[which](i), i * width)
    return new RowBlock(values, width)
  }

  get count(): number {
    return this.values.length / this.width
  }

  row(i: number): Float32Array {
    return this.values.subarray(i * this.width, (i + 1) * this.width)
  }
}

/** The full model's rows after some layers (-1: the embedding), and MLP outputs of some. */
export interface FullRows {
  readonly hidden: ReadonlyMap<number, RowBlock>
  readonly mlp: ReadonlyMap<number, RowBlock>
}

export interface CaptureOptions {
  /** Layers after which rows are kept: 4 x H bytes for each row and layer. */
  readonly after: readonly number[]
  readonly mlpAfter?: readonly number[]
  readonly signal?: AbortSignal | undefined
  readonly onLayer?: (() => void) | undefined
}

/** Runs texts at full depth, as far up as rows are wanted, in one pass. */
export async function captureRows(
  losses: PlanLosses,
  { after, mlpAfter = [], signal, onLayer }: CaptureOptions,
): Promise<FullRows> {
  const hidden = new Map<number, RowBlock>()
  const mlp = new Map<number, RowBlock>()
  const layers = allLayers(Math.max(0, ...after, ...mlpAfter) + 1)
  await losses.rise({ layers, mlpAfter, ...(signal && { signal }) }, (rows) => {
    if (rows.layer >= 0) onLayer?.()
    if (after.includes(rows.layer)) hidden.set(rows.layer, RowBlock.of(rows))
    if (mlpAfter.includes(rows.layer)) mlp.set(rows.layer, RowBlock.of(rows, 'mlp'))
  })
  return { hidden, mlp }
}
