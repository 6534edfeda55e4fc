import { type Bridge, type BridgeInput, type BridgeType, type Gap, planGaps } from '../../depth/bridge.js'
import type { Plan } from '../../depth/plan.js'
import type { PlanLosses } from '../../engine/known-text.js'
import { Backend } from '../../ggml/backend.js'
import { RowMap } from '../../ggml/row-algebra.js'
import { type FullRows, RowBlock } from './full-rows.js'
import { chooseRidge, Moments } from './ridge.js'
import { toBridge } from './to-bridge.js'

/** Of the rows, the share that says which ridge is best. */
const CHOICE_SHARE = 0.2

/** What maps are to be. */
export interface MapOptions {
  readonly on: BridgeInput
  /** Null for maps of full rank. */
  readonly rank: number | null
  readonly type: BridgeType
  /** False for maps without b, which fold into a down projection without a bias; default true. */
  readonly bias?: boolean
  /** What the model multiplies an MLP's output by before it joins the residual stream; default 1. */
  readonly mlpScale?: number
  /** Default `RIDGES`. */
  readonly ridges?: readonly number[]
}

export interface FitOptions extends MapOptions {
  readonly signal?: AbortSignal | undefined
  /** Called after every layer that all texts have run. */
  readonly onLayer?: (() => void) | undefined
  /** The bridge over a gap that was fitted before. */
  readonly known?: (gap: Gap) => FittedBridge | null
  readonly onBridge?: (bridge: FittedBridge) => void
}

export interface FittedBridge {
  readonly bridge: Bridge
  readonly ridge: number
  /** Share of the squares of what the gap adds, on rows without a part in the fit; null where one ridge was given. */
  readonly unexplained: number | null
}

/** After which layers `fitBridges` needs the full model's rows. */
export function rowsFor(plan: Plan, layers: number, on: BridgeInput): { after: number[]; mlpAfter: number[] } {
  const gaps = planGaps(plan, layers)
  const [first] = gaps
  if (first === undefined) return { after: [], mlpAfter: [] }
  return {
    after: [first.from, ...gaps.map(({ to }) => to - 1)],
    mlpAfter: on === 'mlp' && first.from >= 0 ? [first.from] : [],
  }
}

/**
 * Fits a bridge over every gap of a plan, from below: on the rows that the pruned model itself has there, with the bridges
 * below applied, towards the full model's rows above the gap. Below the first gap both are the same.
 */
export async function fitBridges(
  losses: PlanLosses,
  layers: number,
  plan: Plan,
  full: FullRows,
  options: FitOptions,
): Promise<FittedBridge[]> {
  const gaps = planGaps(plan, layers)
  const [first, ...others] = gaps
  if (first === undefined) return []
  const { signal, onLayer, known, onBridge } = options
  const backend = new Backend()
  const all: FittedBridge[] = []
  /** The rows of a gap's upper end. */
  const over = (gap: Gap, hidden: RowBlock, mlp: RowBlock | null): RowBlock => {
    const target = full.hidden.get(gap.to - 1) as RowBlock
    const before = known?.(gap) ?? null
    const fitted = before ?? fitOne(backend, gap, { hidden, mlp, target }, options)
    if (before === null) onBridge?.(fitted)
    all.push(fitted)
    return bridged(backend, fitted.bridge, { hidden, mlp }, options.mlpScale)
  }
  try {
    const start = over(first, full.hidden.get(first.from) as RowBlock, full.mlp.get(first.from) ?? null)
    if (others.length === 0) return all
    const mlpAfter = options.on === 'mlp' ? others.map(({ from }) => from) : []
    const between = plan.filter((l) => l >= first.to && l <= (others.at(-1) as Gap).from)
    await losses.rise({ layers: between, mlpAfter, ...(signal && { signal }) }, (rows) => {
      if (rows.layer < 0) {
        for (let i = 0; i < rows.count; i++) rows.write(i, start.row(i))
        return
      }
      onLayer?.()
      const gap = others.find(({ from }) => from === rows.layer)
      if (gap === undefined) return
      const mlp = options.on === 'mlp' ? RowBlock.of(rows, 'mlp') : null
      const next = over(gap, RowBlock.of(rows), mlp)
      for (let i = 0; i < rows.count; i++) rows.write(i, next.row(i))
    })
    return all
  } finally {
    await backend.dispose()
  }
}

interface GapRows {
  readonly hidden: RowBlock
  readonly mlp: RowBlock | null
  readonly target: RowBlock
}

/** The map over one gap. Rows of large norm, such as a text's first, would rule it: each counts by 1 / rms of its target. */
export function fitOne(
  backend: Backend,
  gap: Gap,
  { hidden, mlp, target }: GapRows,
  { type, rank, bias = true, mlpScale = 1, ridges }: Omit<MapOptions, 'on'>,
): FittedBridge {
  const { width, count } = hidden
  const moments = [new Moments(backend, width, width, bias), new Moments(backend, width, width, bias)] as const
  const scale = mlp === null ? 1 : mlpScale
  const chosenFrom = count - Math.max(1, Math.round(count * CHOICE_SHARE))
  try {
    const difference = new Float32Array(width)
    for (let i = 0; i < count; i++) {
      const below = hidden.row(i)
      const above = target.row(i)
      for (let j = 0; j < width; j++) difference[j] = (above[j]! - below[j]!) / scale
      moments[i < chosenFrom ? 0 : 1].add((mlp ?? hidden).row(i), difference, 1 / Math.max(rms(above), 1e-12))
    }
    const { map, ridge, unexplained } = chooseRidge(...moments, ridges)
    const bridge = toBridge(map, { ...gap, on: mlp === null ? 'hidden' : 'mlp' }, { type, rank })
    return { bridge, ridge, unexplained }
  } finally {
    for (const one of moments) one.dispose()
  }
}

/** Rows after a bridge, as the engine computes them. */
export function bridged(
  backend: Backend,
  { on, factors, bias }: Bridge,
  { hidden, mlp }: Omit<GapRows, 'target'>,
  mlpScale = 1,
): RowBlock {
  const input = on === 'mlp' ? (mlp as RowBlock) : hidden
  const scale = on === 'mlp' ? mlpScale : 1
  const { width } = hidden
  const values = Float32Array.from(hidden.values)
  const map = new RowMap(backend, factors, bias)
  try {
    map.each(
      input.count,
      (i) => input.row(i),
      (i, mapped) => {
        for (let j = 0; j < width; j++) values[i * width + j] = values[i * width + j]! + scale * mapped[j]!
      },
    )
  } finally {
    map.dispose()
  }
  return new RowBlock(values, width)
}

function rms(row: Float32Array): number {
  let sum = 0
  for (const value of row) sum += value * value
  return Math.sqrt(sum / row.length)
}
