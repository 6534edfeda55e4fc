import type { Gap } from '../../depth/bridge.js'
import { allLayers } from '../../depth/plan.js'
import type { PlanLosses } from '../../engine/known-text.js'
import { createRandomStream } from '../../engine/schedule/random-stream.js'
import { Backend } from '../../ggml/backend.js'
import { ColumnProducts } from '../../ggml/row-algebra.js'
import { choleskySolveAll } from '../cholesky.js'
import { RowBlock } from './full-rows.js'
import { ridgeFactor, unexplained } from './ridge.js'

/** Layers that a gap leaves out at most. */
export const LONGEST_GAP = 8
/** Targets are seen through so many random directions: what a map leaves unexplained is a mean over directions. */
const DIRECTIONS = 64
/** Wider rows are projected to so many inputs. */
const WIDE = 2048
const NARROWED = 512
const RIDGE = 0.1
/** Of the rows, the share that the maps are tried on. */
const CHOICE_SHARE = 0.2

/** What gaps cost: of the rows above each, the share that no linear map of the rows below explains. */
export class GapPrices {
  private readonly prices: ReadonlyMap<string, number>

  constructor(prices: readonly (Gap & { readonly price: number })[]) {
    this.prices = new Map(prices.map(({ from, to, price }) => [`${from} ${to}`, price]))
  }

  /** Infinity for a gap that is longer than any that was tried. */
  of({ from, to }: Gap): number {
    return this.prices.get(`${from} ${to}`) ?? Number.POSITIVE_INFINITY
  }

  entries(): (Gap & { readonly price: number })[] {
    return [...this.prices].map(([key, price]) => {
      const [from = 0, to = 0] = key.split(' ').map(Number)
      return { from, to, price }
    })
  }
}

/**
 * Prices of all gaps of 1 to `LONGEST_GAP` layers above the first layer and below the last, in one pass at full depth: rows after each layer
 * divided by their rms, ridge regression of the upper on the lower ones, and its error on rows without a part in the fit.
 */
export async function measureGapPrices(
  losses: PlanLosses,
  layers: number,
  { signal, onLayer }: { readonly signal?: AbortSignal | undefined; readonly onLayer?: (() => void) | undefined },
): Promise<GapPrices> {
  const backend = new Backend()
  const random = createRandomStream(0)
  const prices: (Gap & { price: number })[] = []
  /** Rows after the layers that a gap may still begin at, the lowest first. */
  const below: LowerRows[] = []
  let directions: Float32Array[] | null = null
  let inputs: Float32Array[] | null = null
  const top = allLayers(layers).slice(0, -1)
  try {
    await losses.rise({ layers: top, ...(signal && { signal }) }, (now) => {
      if (now.layer < 0) return
      onLayer?.()
      const rows = normalised(RowBlock.of(now))
      directions ??= randomDirections(random, DIRECTIONS, rows.width)
      if (rows.width > WIDE) inputs ??= randomDirections(random, NARROWED, rows.width)
      const targets = projected(rows, directions)
      for (const lower of below) prices.push({ from: lower.layer, to: now.layer + 1, price: lower.price(targets) })
      below.push(new LowerRows(backend, now.layer, inputs === null ? rows : projected(rows, inputs)))
      if (below.length > LONGEST_GAP) below.shift()
    })
    return new GapPrices(prices)
  } finally {
    await backend.dispose()
  }
}

/** Rows after a layer that gaps begin at, with what a map of them needs whatever it leads to. */
class LowerRows {
  private readonly fitted: number
  private readonly factor: readonly Float64Array[]
  private readonly moments: readonly Float64Array[]

  constructor(
    private readonly backend: Backend,
    readonly layer: number,
    private readonly rows: RowBlock,
  ) {
    this.fitted = rows.count - Math.max(1, Math.round(rows.count * CHOICE_SHARE))
    this.factor = ridgeFactor(this.products(0, this.fitted, null), RIDGE)
    this.moments = this.products(this.fitted, rows.count, null)
  }

  /** The share of the upper rows that a map of these leaves unexplained on rows without a part in its fit. */
  price(upper: RowBlock): number {
    const weights = this.products(0, this.fitted, upper)
    choleskySolveAll(this.factor, weights)
    let squares = 0
    for (let i = this.fitted; i < upper.count; i++) for (const value of upper.row(i)) squares += value * value
    return unexplained(weights, { a: this.moments, b: this.products(this.fitted, upper.count, upper), squares })
  }

  /** sum [x; 1] y^T over rows `from` .. `to - 1`, with y = [x; 1] where no upper rows are given. */
  private products(from: number, to: number, upper: RowBlock | null): Float64Array[] {
    const inputs = this.rows.width + 1
    const products = new ColumnProducts(this.backend, inputs, upper?.width ?? inputs)
    try {
      const x = new Float32Array(inputs).fill(1)
      for (let i = from; i < to; i++) {
        x.set(this.rows.row(i))
        products.add(x, upper?.row(i) ?? x)
      }
      products.flush()
      return [...products.sums]
    } finally {
      products.dispose()
    }
  }
}

function normalised(rows: RowBlock): RowBlock {
  const values = Float32Array.from(rows.values)
  const result = new RowBlock(values, rows.width)
  for (let i = 0; i < rows.count; i++) {
    const row = result.row(i)
    let squares = 0
    for (const value of row) squares += value * value
    const length = Math.max(Math.sqrt(squares / row.length), 1e-12)
    for (let j = 0; j < row.length; j++) row[j] = row[j]! / length
  }
  return result
}

function randomDirections(random: () => number, count: number, width: number): Float32Array[] {
  return Array.from({ length: count }, () =>
    Float32Array.from({ length: width }, () => (random() < 0.5 ? -1 : 1) / Math.sqrt(width)),
  )
}

function projected(rows: RowBlock, directions: readonly Float32Array[]): RowBlock {
  const values = new Float32Array(rows.count * directions.length)
  for (let i = 0; i < rows.count; i++) {
    const row = rows.row(i)
    for (const [d, direction] of directions.entries()) {
      let sum = 0
      for (let j = 0; j < row.length; j++) sum += row[j]! * direction[j]!
      values[i * directions.length + d] = sum
    }
  }
  return new RowBlock(values, directions.length)
}
