import type { Turn } from './turn.js'
import type { WindowScore } from './window.js'

/** Sequences that are decoded together, or a window of a text. */
export interface TurnKey {
  readonly kind: 'turn' | 'window'
  /** Index of the pair of task and shots, or of the text. */
  readonly group: number
  /** Sequences at once; 1 for a window. */
  readonly batch: number
  /** Which turn or window of these. */
  readonly index: number
}

/** By name of the depth. */
export type Turns = ReadonlyMap<string, Turn>
export type Windows = ReadonlyMap<string, WindowScore>

/** What an evaluation of generation has done so far, a line for each turn and window under all depths. */
export interface TurnsFile {
  /** Lines that an earlier run has left. */
  readonly kept: number
  turns(key: TurnKey): Turns | undefined
  windows(key: TurnKey): Windows | undefined
  appendTurns(key: TurnKey, turns: Turns): void
  appendWindows(key: TurnKey, windows: Windows): void
  /** To be called in the end; `remove` once the report is written. */
  close(options?: { readonly remove: boolean }): void
}
