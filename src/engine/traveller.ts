import type { Sequence } from './sequence.js'
import type { StepResult } from './step.js'
import type { TokenDepth } from './token-depth.js'

/**
 * Rows that go through a stretch together at most. Longer prompts go in pieces: that bounds a graph's memory, and what a
 * layer hands on stays in the caches (512 tokens of TinyLlama's shape: 230 tokens/s in pieces of 256, 219 in one).
 */
const MOST_ROWS = 256
/** A feed on its way up the layers. */
export interface Traveller {
  readonly sequence: Sequence
  readonly ids: readonly number[]
  readonly depth: TokenDepth
  readonly countFrom: number
  readonly signal: AbortSignal | undefined
  /** First new position, and the one after the last. */
  readonly start: number
  readonly end: number
  embedded: boolean
  /** The layer that runs next; null at the end. */
  next: number | null
  /** Copy of the last row's input to the layer that is checked next. */
  input?: Float32Array
  /** Copies of the last row's outputs in the layer that has just run, where a policy asks for them. */
  sublayers?: { attention: Float32Array; mlp: Float32Array }
  rowLayers: number
  layerPasses: number
  checkMs: number
  result: StepResult | null
  /** What its policy threw, or that it was aborted; null while all is well. It ends this feed and no other. */
  error: unknown
}

/** The layer that a traveller runs after this one; null where it stops. */
export function after(t: Traveller, layer: number): number | null {
  if (t.depth.kind === 'exit') return layer < t.depth.last ? layer + 1 : null
  return t.depth.layers[t.depth.layers.indexOf(layer) + 1] ?? null
}

export function checksAt(t: Traveller, layer: number): boolean {
  return t.depth.kind === 'exit' && t.depth.checks.has(layer)
}

export function needsInput(t: Traveller, layer: number): boolean {
  return t.depth.kind === 'exit' && t.depth.needs.hidden === true && t.depth.checks.has(layer)
}

/** First position that the layer has to run for: the waiting rows come along under exit policies. */
export function rowsFrom(t: Traveller, layer: number): number {
  return t.depth.kind === 'plan' ? t.start : (t.sequence.cached[layer] as number)
}

export interface Piece {
  readonly traveller: Traveller
  readonly from: number
  readonly to: number
}

/** Cuts the rows of a group into pieces of at most MOST_ROWS rows. `layer` undefined: the new positions, to embed. */
export function pieces(group: readonly Traveller[], layer: number | undefined): Piece[][] {
  const all: Piece[][] = []
  let piece: Piece[] = []
  let room = MOST_ROWS
  for (const traveller of group) {
    let from = layer === undefined ? traveller.start : rowsFrom(traveller, layer)
    while (from < traveller.end) {
      const to = Math.min(traveller.end, from + room)
      piece.push({ traveller, from, to })
      room -= to - from
      from = to
      if (room === 0) {
        all.push(piece)
        piece = []
        room = MOST_ROWS
      }
    }
  }
  if (piece.length > 0) all.push(piece)
  return all
}
