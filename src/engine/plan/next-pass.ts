import {
  after,
  type Climber,
  checksAt,
  goTogether,
  leads,
  needsInput,
  needsSublayers,
  rowsFrom,
  sameBridge,
} from './climber.js'
import type { Pass, RowRange } from './pass.js'

/** What the model and the machine allow. */
export interface PassLimits {
  /** L */
  readonly layers: number
  /** Layers that so many rows may run in one compute, so that others get their turns. */
  readonly mostLayers: (rows: number) => number
  /** How many rows so many are filled up to, because they cost no more. */
  readonly padding: (rows: number) => number
}

/** A climber and its place among the feeds of the step. */
interface Placed {
  readonly feed: number
  readonly climber: Climber
}

/**
 * What runs next in a step: the lowest layer that somebody is at, for all that can run it together, and as many layers above it as they can go
 * without a decision. Null where all have stopped.
 * @param climbers the feeds of the step, in its order; null for one that could not begin
 */
export function nextPass(climbers: readonly (Climber | null)[], limits: PassLimits): Pass | null {
  const all = climbers.flatMap((climber, feed): Placed[] => (climber === null ? [] : [{ feed, climber }]))
  const running = all.filter(({ climber }) => climber.next !== null)
  if (running.length === 0) return null
  const layer = Math.min(...running.map(({ climber }) => climber.next as number))
  const first = running.find(({ climber }) => climber.next === layer) as Placed
  const group = running.filter(({ climber }) => goTogether(climber, first.climber))
  const embedded = first.climber.embedded
  if (!embedded && group.some(({ climber }) => needsInput(climber, layer))) return embedding(group)
  const behind = catchUp(group, layer - 1)
  if (behind !== null) return behind
  const others = running.filter((one) => !group.includes(one))
  const { layers, narrowed } = stretchOf(group, others, layer, limits)
  const last = layers.at(-1)
  const bridged = embedded ? layers : [-1, ...layers]
  const pass: Pass = {
    layers,
    from: embedded ? 'rows' : 'tokens',
    rows: rangesOf(group, layers[0]),
    riders: [],
    narrowed,
    cached: false,
    sublayers: last !== undefined && group.some(({ climber }) => needsSublayers(climber, last)),
    bridged: bridged.filter((one) => first.climber.bridges.has(one)),
    inputs: feedsOf(group.filter(({ climber }) => embedded && needsInput(climber, layer))),
    decides: last === undefined ? [] : feedsOf(group),
  }
  const stopped = all.filter(({ climber }) => climber.stoppedAt !== null)
  return { ...pass, riders: ridersOf(pass, stopped, limits) }
}

/** Rows whose policy reads what goes into the first layer are there before it runs. */
function embedding(group: readonly Placed[]): Pass {
  const bridged = group[0]?.climber.bridges.has(-1) ? [-1] : []
  return { ...NOTHING, from: 'tokens', rows: rangesOf(group, undefined), bridged }
}

/** The rest of a layer for rows that only left keys and values there, before the layer above wants them. */
function catchUp(group: readonly Placed[], layer: number): Pass | null {
  const rows = group.flatMap(({ feed, climber }) =>
    spans(climber.sequence.unfinished.get(layer) ?? []).map((span) => ({ feed, ...span })),
  )
  return rows.length === 0 ? null : { ...NOTHING, layers: [layer], rows, cached: true }
}

const NOTHING: Pass = {
  layers: [],
  from: 'rows',
  rows: [],
  riders: [],
  narrowed: false,
  cached: false,
  sublayers: false,
  bridged: [],
  inputs: [],
  decides: [],
}

/** As many layers as the group can go without a decision. */
function stretchOf(
  group: readonly Placed[],
  others: readonly Placed[],
  first: number,
  limits: PassLimits,
): { readonly layers: readonly number[]; readonly narrowed: boolean } {
  const climbers = group.map(({ climber }) => climber)
  const [one] = climbers as [Climber]
  const most = limits.mostLayers(rowsAt(climbers, first))
  const layers = [first]
  const together = (next: number, last: number): boolean =>
    climbers.every(
      (c) =>
        after(c, last) === next &&
        !checksAt(c, last) &&
        !needsInput(c, next) &&
        rowsFrom(c, next) === rowsFrom(c, first) &&
        sameBridge(c, one, next),
    )
  for (let last = first; layers.length < most; last = layers.at(-1) as number) {
    const next = after(one, last)
    if (next === null || !together(next, last)) break
    if (others.some(({ climber }) => (climber.next as number) <= next)) break
    layers.push(next)
  }
  const top = layers.at(-1) as number
  const leading = climbers.some((c) => leads(c, top)) && climbers.every((c) => leads(c, top) || c.top === top)
  // The rows that come after need their hidden rows at the input of the layer that is led.
  if (leading && (layers.length > 1 || !one.embedded)) layers.pop()
  const last = layers.at(-1)
  const narrowed = last !== undefined && climbers.every((c) => c.top === last || leads(c, last))
  return { layers, narrowed }
}

/**
 * Rows that wait at the pass's layers of sequences that have stopped below it: where its rows are filled up, these take the
 * places, since they have to go through sooner or later and cost nothing now.
 */
function ridersOf(pass: Pass, stopped: readonly Placed[], { layers, padding }: PassLimits): RowRange[] {
  const [first = 0] = pass.layers
  const leading = pass.narrowed && pass.layers.at(-1) !== layers - 1
  if (pass.from === 'tokens' || first === 0 || leading || pass.bridged.length > 0) return []
  const rows = pass.rows.reduce((sum, { from, to }) => sum + to - from, 0)
  let places = padding(rows) - rows
  return stopped.flatMap(({ feed, climber }) => {
    const { cached, unfinished } = climber.sequence
    if (places === 0 || climber.depth.kind !== 'exit' || unfinished.size > 0) return []
    const from = cached[first] as number
    // Rows whose logits are still to be read stay where they are.
    const to = Math.min(cached[first - 1] as number, climber.wantedFrom, from + places)
    if (to <= from || pass.layers.some((layer) => cached[layer] !== from)) return []
    places -= to - from
    return [{ feed, from, to }]
  })
}

function rowsAt(climbers: readonly Climber[], layer: number): number {
  return climbers.reduce((sum, c) => sum + c.end - rowsFrom(c, layer), 0)
}

/** The rows that a group has at a layer. `layer` undefined: the new positions, to embed. */
function rangesOf(group: readonly Placed[], layer: number | undefined): RowRange[] {
  return group.map(({ feed, climber }) => ({
    feed,
    from: layer === undefined ? climber.start : rowsFrom(climber, layer),
    to: climber.end,
  }))
}

function feedsOf(group: readonly Placed[]): number[] {
  return group.map(({ feed }) => feed)
}

/** Ascending positions as ranges. */
function spans(positions: readonly number[]): { from: number; to: number }[] {
  const all: { from: number; to: number }[] = []
  for (const p of positions) {
    const open = all.at(-1)
    if (open !== undefined && open.to === p) open.to++
    else all.push({ from: p, to: p + 1 })
  }
  return all
}
