import type { WireError } from './wire-errors.js'

/** What the caller's side sends. Everything is plain data that a structured clone carries. */
export type ToRunner =
  | { readonly kind: 'call'; readonly id: number; readonly method: string; readonly args: unknown }
  | { readonly kind: 'abort'; readonly id: number }
  /** To a question. */
  | { readonly kind: 'answer'; readonly id: number; readonly question: number; readonly answer: Answer }

/** What the runner's side sends. */
export type FromRunner =
  | { readonly kind: 'event'; readonly id: number; readonly name: string; readonly value: unknown }
  /** The call goes on when it is answered. */
  | {
      readonly kind: 'question'
      readonly id: number
      readonly question: number
      readonly name: string
      readonly value: unknown
    }
  /** The whole runner waits for the reply: what it asks must be answered at once. */
  | { readonly kind: 'inquiry'; readonly id: number; readonly name: string; readonly value: unknown }
  | { readonly kind: 'end'; readonly id: number; readonly answer: Answer }

/** A value, or why there is none. */
export type Answer = { readonly value: unknown } | { readonly error: WireError }
