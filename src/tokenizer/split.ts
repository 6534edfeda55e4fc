import type { Part } from './fields.js'
import type { Pattern } from './pattern.js'

/** A stretch of text on its way to the model. */
export interface Piece {
  readonly text: string
  /** Whether it starts where the whole text started. */
  readonly first: boolean
}

const BEHAVIORS = ['Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous'] as const

/** What becomes of the matches of a split. */
export type Behavior = (typeof BEHAVIORS)[number]

export function readBehavior(part: Part, absent?: Behavior): Behavior {
  const value = part.optionalString('behavior') ?? absent ?? part.fail('has no behavior')
  return BEHAVIORS.find((behavior) => behavior === value) ?? part.unsupported(`behavior ${value.slice(0, 40)}`)
}

interface Stretch {
  start: number
  end: number
  readonly isMatch: boolean
}

/** Splits pieces at the matches of a pattern, or with `invert` at what lies between. */
export function splitter(pattern: Pattern, behavior: Behavior, invert = false): (piece: Piece) => Piece[] {
  return (piece) => {
    const stretches = merge(stretchesOf(pattern(piece.text), piece.text.length, invert), behavior)
    return stretches
      .filter(({ start, end }) => start < end)
      .map(({ start, end }) => ({ text: piece.text.slice(start, end), first: piece.first && start === 0 }))
  }
}

function stretchesOf(matches: readonly number[], length: number, invert: boolean): Stretch[] {
  const stretches: Stretch[] = []
  let previous = 0
  for (let i = 0; i < matches.length; i += 2) {
    const start = matches[i]!
    const end = matches[i + 1]!
    if (previous !== start) stretches.push({ start: previous, end: start, isMatch: invert })
    stretches.push({ start, end, isMatch: !invert })
    previous = end
  }
  if (previous !== length) stretches.push({ start: previous, end: length, isMatch: invert })
  return stretches
}

function merge(stretches: Stretch[], behavior: Behavior): Stretch[] {
  if (behavior === 'Isolated') return stretches
  if (behavior === 'Removed') return stretches.filter((stretch) => !stretch.isMatch)
  const merged: Stretch[] = []
  let previous = false
  if (behavior === 'MergedWithNext') {
    for (const stretch of stretches.toReversed()) {
      const next = merged[merged.length - 1]
      if (stretch.isMatch && !previous && next !== undefined) next.start = stretch.start
      else merged.push({ ...stretch })
      previous = stretch.isMatch
    }
    return merged.reverse()
  }
  for (const stretch of stretches) {
    const before = merged[merged.length - 1]
    const joins = behavior === 'Contiguous' ? stretch.isMatch === previous : stretch.isMatch && !previous
    if (joins && before !== undefined) before.end = stretch.end
    else merged.push({ ...stretch })
    previous = stretch.isMatch
  }
  return merged
}
