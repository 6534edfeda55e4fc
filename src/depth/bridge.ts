import { InputError } from '../errors.js'
import type { Plan } from './plan.js'

/** What a bridge's matrices may be stored as. */
export const BRIDGE_TYPES = ['q8_0', 'f16', 'f32'] as const
export type BridgeType = (typeof BRIDGE_TYPES)[number]

/** A matrix as ggml stores it: `rows` rows of `columns` values each. */
export interface BridgeMatrix {
  readonly type: BridgeType
  readonly columns: number
  readonly rows: number
  readonly data: Uint8Array
}

/** What a bridge reads: the hidden state below the gap, or the output of the last kept layer's MLP (ReplaceMe). */
export type BridgeInput = 'hidden' | 'mlp'

/**
 * A linear map over layers that a plan leaves out. The hidden state h after layer `from` becomes h + W x + b, where x is h
 * itself or the output of that layer's MLP, and goes on into layer `to`.
 */
export interface Bridge {
  /** The last layer below the gap; -1 for the embedding. */
  readonly from: number
  /** The first layer above it; L where nothing comes after. */
  readonly to: number
  readonly on: BridgeInput
  /** W as one matrix [H, H], or as two of lower rank, the one that comes first in front: [H -> R], [R -> H]. */
  readonly factors: readonly BridgeMatrix[]
  /** b: [H]. */
  readonly bias: Float32Array
}

/** Layers left out between two that run. */
export interface Gap {
  readonly from: number
  readonly to: number
}

/** The gaps of a plan, from below: L stands above the last layer, -1 below the first. */
export function planGaps(plan: Plan, layers: number): Gap[] {
  const kept = [-1, ...plan, layers]
  return kept.slice(1).flatMap((to, i) => {
    const from = kept[i] as number
    return to > from + 1 ? [{ from, to }] : []
  })
}

/** The bridge over just these layers, where there is one. */
export function bridgeOver(bridges: readonly Bridge[], { from, to }: Gap): Bridge | null {
  return bridges.find((bridge) => bridge.from === from && bridge.to === to) ?? null
}

/** The bridges that a plan uses, from below. */
export function bridgesOf(bridges: readonly Bridge[], plan: Plan, layers: number): Bridge[] {
  return planGaps(plan, layers).flatMap((gap) => bridgeOver(bridges, gap) ?? [])
}

/** Multiply-adds of a bridge for one row, in units of a whole map of H x H. */
export function bridgeUnits(bridges: readonly Bridge[], hidden: number): number {
  const elements = bridges.flatMap(({ factors }) => factors).reduce((sum, m) => sum + m.columns * m.rows, 0)
  return elements / (hidden * hidden)
}

/** Throws InputError unless bridges fit a model and stand over gaps of a plan. */
export function checkBridges(bridges: readonly Bridge[], plan: Plan, layers: number, hidden: number): void {
  const gaps = planGaps(plan, layers)
  for (const bridge of bridges) {
    const { from, to, on } = bridge
    const name = `the bridge from layer ${from} to ${to}`
    if (!gaps.some((gap) => gap.from === from && gap.to === to)) {
      throw new InputError(`${name} does not stand over a gap of layers ${plan.join(',')}`)
    }
    if (on === 'mlp' && from < 0) throw new InputError(`${name} reads an MLP, and there is none below it`)
    checkWidth(bridge, name, hidden)
  }
}

/** Throws InputError unless bridges are a lens of a model: from the hidden state after a layer below the last to the end. */
export function checkLens(lens: readonly Bridge[], layers: number, hidden: number): void {
  for (const bridge of lens) {
    const { from, to, on } = bridge
    const name = `the lens of layer ${from}`
    if (from < 0 || from > layers - 2 || to !== layers || on !== 'hidden') {
      throw new InputError(
        `${name} does not lead from the hidden state of layers 0 to ${layers - 2} to the end, ${layers}`,
      )
    }
    checkWidth(bridge, name, hidden)
  }
  if (new Set(lens.map(({ from }) => from)).size < lens.length) {
    throw new InputError('a lens has two maps after one layer')
  }
}

function checkWidth({ factors, bias }: Bridge, name: string, hidden: number): void {
  const widths = [hidden, ...factors.slice(1).map(({ columns }) => columns), hidden]
  const fits = factors.every((m, i) => m.columns === widths[i] && m.rows === widths[i + 1])
  if (factors.length === 0 || !fits || bias.length !== hidden) {
    throw new InputError(`${name} is not one of ${hidden} dimensions, which the model has`)
  }
}

/** What a bridge's matrices are kept in, unless said otherwise: as good as f16 in what was measured, and half as much to read. */
export function bridgeType(columns: number): BridgeType {
  return columns % 32 === 0 ? 'q8_0' : 'f16'
}

/** Maps that were read from a file. */
export interface BridgeSet {
  readonly path: string
  /** SHA-256 of the maps and of the layers that they stand over. */
  readonly source: string
  readonly layers: number
  readonly hidden: number
  /** The plan whose gaps they stand over; null for a lens, whose bridges lead from a layer to the end of the model. */
  readonly plan: Plan | null
  /** Fingerprint of the model that they were fitted to. */
  readonly model: string | null
  readonly modelName: string | null
  readonly bridges: readonly Bridge[]
}

/** True for a lens: maps that belong to no plan. */
export function lensIn(set: BridgeSet): boolean {
  return set.plan === null
}

/** The layers that a gap leaves out: `layer 4`, `layers 4-6`. */
export function gapText({ from, to }: Gap): string {
  return to === from + 2 ? `layer ${from + 1}` : `layers ${from + 1}-${to - 1}`
}
