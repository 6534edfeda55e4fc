import type { Plan } from '../../depth/plan.js'
import type { PolicyNeeds } from '../../depth/policy.js'

/** How deep a feed goes, as planning sees it. */
export type ClimbDepth =
  /** These layers, known beforehand. */
  | { readonly kind: 'plan'; readonly layers: Plan }
  /** Up to `last`, or to the first check that says so. */
  | {
      readonly kind: 'exit'
      readonly checks: ReadonlySet<number>
      readonly last: number
      readonly needs: PolicyNeeds
      /** False for a policy that looks on and never stops. */
      readonly mayStop: boolean
    }

/** Where a feed of a step is on its way up the layers: all that planning looks at. */
export interface Climber {
  readonly sequence: {
    /** For people. */
    readonly id: number
    /** Per layer: positions 0 .. cached[l]-1 are in its cache. */
    readonly cached: { readonly [layer: number]: number }
    /** Per layer: positions that have their keys and values there, and whose hidden row still is the layer's input. */
    readonly unfinished: ReadonlyMap<number, readonly number[]>
  }
  readonly depth: ClimbDepth
  /** Of its plan, by the layer that they follow; -1 for the embedding. Those of two feeds are the same where they are one object. */
  readonly bridges: ReadonlyMap<number, unknown>
  /** First new position, and the one after the last. */
  readonly start: number
  readonly end: number
  /** The layer after which nothing can want its rows: the plan's last, or under exit policies the model's. */
  readonly top: number
  /** First position whose logits are wanted where the feed gets to `top`. */
  readonly wantedFrom: number
  /** Whether the new positions hold hidden rows. */
  readonly embedded: boolean
  /** The layer that runs next; null where it has stopped, or failed. */
  readonly next: number | null
  /** The layer that it has stopped after. */
  readonly stoppedAt: number | null
}

/** The layer that a climber runs after this one; null where it stops. */
export function after({ depth }: Climber, layer: number): number | null {
  if (depth.kind === 'exit') return layer < depth.last ? layer + 1 : null
  return depth.layers[depth.layers.indexOf(layer) + 1] ?? null
}

/** True where two that run a layer next may do so in one graph, from where both are. */
export function goTogether(a: Climber, b: Climber): boolean {
  if (a.next !== b.next || a.next === null || a.embedded !== b.embedded) return false
  return sameBridge(a, b, a.next) && (a.embedded || sameBridge(a, b, -1))
}

/** True where what follows a layer is the same for both. */
export function sameBridge(a: Climber, b: Climber, layer: number): boolean {
  return a.bridges.get(layer) === b.bridges.get(layer)
}

/** What happens to a climber after the last layer of a pass, for people; '' where it goes on. */
export function decisionText(c: Climber, layer: number): string {
  if (checksAt(c, layer)) return 'is checked'
  return after(c, layer) === null ? 'ends' : ''
}

/** First position whose row is wanted after a narrowed layer. */
export function wantedFrom(c: Climber, layer: number): number {
  return layer === c.top ? c.wantedFrom : c.end - 1
}

export function checksAt({ depth }: Climber, layer: number): boolean {
  return depth.kind === 'exit' && depth.checks.has(layer)
}

/**
 * Rows behind the last one from which on the last one goes first: a check after a layer needs its output of the last row
 * alone, and where the token stops there, the others never run more of the layer than keys and values.
 */
const ROWS_TO_LEAD = 16

/** True where the last row goes through a checked layer ahead of the rows before it. */
export function leads(c: Climber, layer: number): boolean {
  return (
    checksAt(c, layer) && c.depth.kind === 'exit' && c.depth.mayStop && c.end - 1 - rowsFrom(c, layer) >= ROWS_TO_LEAD
  )
}

/** True where the policy reads what goes into the layer. */
export function needsInput(c: Climber, layer: number): boolean {
  return checksAt(c, layer) && c.depth.kind === 'exit' && c.depth.needs.hidden === true
}

export function needsSublayers(c: Climber, layer: number): boolean {
  return checksAt(c, layer) && c.depth.kind === 'exit' && c.depth.needs.sublayers === true
}

/** First position that the layer has to run for: the waiting rows come along under exit policies. */
export function rowsFrom(c: Climber, layer: number): number {
  return c.depth.kind === 'plan' ? c.start : (c.sequence.cached[layer] as number)
}
