import type { LoadedBridge } from './bridges/bridge-weights.js'
import type { Sequence } from './sequence.js'
import type { StepResult } from './step.js'
import type { TokenDepth } from './token-depth.js'

/**
 * Rows that go through a stretch together at most. Longer prompts go in pieces: that bounds a graph's memory, and what a
 * layer hands on stays in the caches (512 tokens of TinyLlama's shape: 230 tokens/s in pieces of 256, 219 in one).
 */
export const MOST_ROWS = 256

/** A feed on its way up the layers. */
export interface Traveller {
  readonly sequence: Sequence
  readonly ids: readonly number[]
  readonly depth: TokenDepth
  /** Of its plan, by the layer that they follow. */
  readonly bridges: ReadonlyMap<number, LoadedBridge>
  /** Of its exit policy, by the layer that they are the lens of. */
  readonly lens: ReadonlyMap<number, LoadedBridge>
  readonly countFrom: number
  readonly signal: AbortSignal | undefined
  /** First new position, and the one after the last. */
  readonly start: number
  readonly end: number
  /** The layer after which nothing can want its rows: the plan's last, or under exit policies the model's. */
  readonly top: number
  /** First position whose logits are wanted where the feed gets to `top`. */
  readonly wantedFrom: number
  embedded: boolean
  /** The layer that runs next; null at the end. */
  next: number | null
  /** Copy of the last row's input to the layer that is checked next. */
  input?: Float32Array
  /** Copies of the last row's outputs in the layer that has just run, where a policy asks for them. */
  sublayers?: { attention: Float32Array; mlp: Float32Array }
  /** Feeds that travel in this step. */
  readonly batch: number
  rowLayers: number
  layerPasses: number
  checkMs: number
  /** The layer that it has stopped after. */
  stoppedAt: number | null
  result: StepResult | null
  /** What its policy threw, or that it was aborted; null while all is well. It ends this feed and no other. */
  error: unknown
}

/** The layer that a traveller runs after this one; null where it stops. */
export function after(t: Traveller, layer: number): number | null {
  if (t.depth.kind === 'exit') return layer < t.depth.last ? layer + 1 : null
  return t.depth.layers[t.depth.layers.indexOf(layer) + 1] ?? null
}

/** True where two travellers that run a layer next may do so in one graph, from where both are. */
export function goTogether(a: Traveller, b: Traveller): boolean {
  if (a.next !== b.next || a.next === null || a.embedded !== b.embedded) return false
  return sameBridge(a, b, a.next) && (a.embedded || sameBridge(a, b, -1))
}

/** True where what follows a layer is the same for both. */
export function sameBridge(a: Traveller, b: Traveller, layer: number): boolean {
  return a.bridges.get(layer) === b.bridges.get(layer)
}

/** First position whose row is wanted after a narrowed layer. */
export function wantedFrom(t: Traveller, layer: number): number {
  return layer === t.top ? t.wantedFrom : t.end - 1
}

export function checksAt(t: Traveller, layer: number): boolean {
  return t.depth.kind === 'exit' && t.depth.checks.has(layer)
}

/** The ids of the check head that the traveller asks after a layer; null for the whole vocabulary. */
export function checkTokensOf(t: Traveller): readonly number[] | null {
  return t.depth.kind === 'exit' ? t.depth.checkTokens : null
}

/**
 * Rows behind the last one from which on the last one goes first: a check after a layer needs its output of the last row
 * alone, and where the token stops there, the others never run more of the layer than keys and values.
 */
const ROWS_TO_LEAD = 16

/** True where the traveller's last row goes through a checked layer ahead of the rows before it. */
export function leads(t: Traveller, layer: number): boolean {
  return (
    t.depth.kind === 'exit' &&
    t.depth.mayStop &&
    t.depth.checks.has(layer) &&
    t.end - 1 - rowsFrom(t, layer) >= ROWS_TO_LEAD
  )
}

export function needsInput(t: Traveller, layer: number): boolean {
  return t.depth.kind === 'exit' && t.depth.needs.hidden === true && t.depth.checks.has(layer)
}

/** First position that the layer has to run for: the waiting rows come along under exit policies. */
export function rowsFrom(t: Traveller, layer: number): number {
  return t.depth.kind === 'plan' ? t.start : (t.sequence.cached[layer] as number)
}

/** Positions `from` .. `to - 1` of a feed's sequence. */
export interface Piece {
  readonly traveller: Traveller
  readonly from: number
  readonly to: number
}

/** The rows that a group has at a layer. `layer` undefined: the new positions, to embed. */
export function rowsOf(group: readonly Traveller[], layer: number | undefined): Piece[] {
  return group.map((traveller) => ({
    traveller,
    from: layer === undefined ? traveller.start : rowsFrom(traveller, layer),
    to: traveller.end,
  }))
}

/** Cuts ranges of rows into pieces of at most so many rows. */
export function cut(ranges: readonly Piece[], most = MOST_ROWS): Piece[][] {
  const all: Piece[][] = []
  let piece: Piece[] = []
  let room = most
  for (const { traveller, from: first, to: end } of ranges) {
    let from = first
    while (from < end) {
      const to = Math.min(end, from + room)
      piece.push({ traveller, from, to })
      room -= to - from
      from = to
      if (room === 0) {
        all.push(piece)
        piece = []
        room = most
      }
    }
  }
  if (piece.length > 0) all.push(piece)
  return all
}
