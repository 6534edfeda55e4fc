import type { Box } from './panel.js'

export interface Segment {
  readonly x1: number
  readonly y1: number
  readonly x2: number
  readonly y2: number
}

/** A text that belongs to a mark at (x, y), and the room that it takes. In pixels. */
export interface Label {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

export interface Surroundings {
  /** No label leaves it. */
  readonly bounds: Box
  /** Half the side of a mark; no label covers one. */
  readonly radius: number
  /** What labels cover only where there is nothing better. */
  readonly lines: readonly Segment[]
}

export interface PlacedLabel {
  readonly box: Box
  /** From the mark to a label that stands apart from it. */
  readonly leader: Segment | null
}

/** Pixels between a mark and its label: first beside it, then further and further away. */
const DISTANCES = [2, 7, 14, 24, 36, 50, 66, 84, 105]
/** Right and left first, where a text reads as the mark's own. */
const DIRECTIONS = [0, 180, 315, 225, 45, 135, 270, 90, 340, 200, 20, 160, 292, 248, 68, 112].map(
  (degrees) => (degrees * Math.PI) / 180,
)
/** Up to this distance it is plain which mark a label belongs to. */
const NEAR = 7
/** A line under a label, or under its leader, is as bad as so many pixels of distance. */
const LINE_COST = 25
const CROSSING_COST = 6
/** For each other mark that a label is about as close to as to its own. */
const CLOSE_COST = 8
/** As a label that is left out. */
const MISSING_COST = 500
const ROOM = 1.5

/**
 * Places labels greedily, in the best of a few orders: no label covers another, a mark or the leader of another. A label
 * without any such place is null. The same input gives the same places.
 */
export function placeLabels(labels: readonly Label[], around: Surroundings): (PlacedLabel | null)[] {
  const crowd = labels.map((a) => labels.filter((b) => Math.hypot(a.x - b.x, a.y - b.y) < 60).length)
  const orders: ((a: number, b: number) => number)[] = [
    (a, b) => crowd[b]! - crowd[a]!,
    (a, b) => labels[a]!.x - labels[b]!.x,
    (a, b) => labels[b]!.x - labels[a]!.x,
    (a, b) => labels[a]!.y - labels[b]!.y,
    (a, b) => labels[b]!.y - labels[a]!.y,
  ]
  const tries = orders.map((order) => {
    const indices = labels.map((_, i) => i).sort((a, b) => order(a, b) || a - b)
    return placeInOrder(labels, indices, around)
  })
  return tries.reduce((best, one) => (one.cost < best.cost ? one : best)).placed
}

function placeInOrder(labels: readonly Label[], order: readonly number[], around: Surroundings) {
  const marks = labels.map(({ x, y }) => grown({ x, y, width: 0, height: 0 }, around.radius))
  const placed: (Choice | null)[] = labels.map(() => null)
  const choose = (i: number): Choice | null => {
    const taken = placed.flatMap((other) => (other === null ? [] : [other.place]))
    let best: Choice | null = null
    for (const distance of DISTANCES) {
      if (best !== null && distance >= best.cost) break
      for (const [rank, angle] of DIRECTIONS.entries()) {
        const place = placeAt(labels[i]!, angle, distance, around.radius)
        if (!isFree(place, i, marks, taken, around.bounds)) continue
        const close = marks.filter((mark, j) => j !== i && overlap(mark, grown(place.box, distance + 4))).length
        const cost = distance + rank * 0.1 + close * CLOSE_COST + costOfLines(place, around.lines)
        if (best === null || cost < best.cost) best = { place, cost }
      }
    }
    return best
  }
  for (const i of order) placed[i] = choose(i)
  // One that found no room takes that of another which can stand elsewhere.
  for (const i of order.filter((index) => placed[index] === null)) {
    for (const other of order) {
      const before = placed[other]!
      if (before === null) continue
      placed[other] = null
      placed[i] = choose(i)
      placed[other] = placed[i] === null ? before : choose(other)
      if (placed[i] !== null && placed[other] !== null) break
      placed[i] = null
      placed[other] = before
    }
  }
  const cost = placed.reduce((sum, one) => sum + (one === null ? MISSING_COST : one.cost), 0)
  return { placed: placed.map((one) => (one === null ? null : one.place)), cost }
}

interface Choice {
  readonly place: PlacedLabel
  readonly cost: number
}

function costOfLines({ box, leader }: PlacedLabel, lines: readonly Segment[]): number {
  const room = grown(box, ROOM)
  const covered = lines.filter((line) => crosses(line, room)).length
  const crossed = leader === null ? 0 : lines.filter((line) => meet(line, leader)).length
  return covered * LINE_COST + crossed * CROSSING_COST
}

function placeAt(label: Label, angle: number, distance: number, radius: number): PlacedLabel {
  const { x, y, width, height } = label
  const [dx, dy] = [Math.cos(angle), Math.sin(angle)]
  // The corner that faces the mark, or the middle of the side, lies on a circle around it.
  const reach = radius + distance
  const left = x + dx * reach - width * shareBefore(dx)
  const top = y + dy * reach - height * shareBefore(dy)
  const box = { x: left, y: top, width, height }
  if (distance <= NEAR) return { box, leader: null }
  const x2 = Math.min(left + width, Math.max(left, x))
  const y2 = Math.min(top + height, Math.max(top, y))
  const length = Math.hypot(x2 - x, y2 - y)
  const share = length > 0 ? radius / length : 0
  return { box, leader: { x1: x + (x2 - x) * share, y1: y + (y2 - y) * share, x2, y2 } }
}

/** How much of a label lies before the point that it is put at: none, half or all of it. */
function shareBefore(direction: number): number {
  return Math.abs(direction) < 0.3 ? 0.5 : direction > 0 ? 0 : 1
}

function isFree(
  { box, leader }: PlacedLabel,
  own: number,
  marks: readonly Box[],
  taken: readonly PlacedLabel[],
  bounds: Box,
): boolean {
  const room = grown(box, ROOM)
  if (box.x < bounds.x || box.x + box.width > bounds.x + bounds.width) return false
  if (box.y < bounds.y || box.y + box.height > bounds.y + bounds.height) return false
  if (marks.some((mark) => overlap(mark, box))) return false
  if (taken.some((other) => overlap(room, other.box) || (other.leader !== null && crosses(other.leader, room)))) {
    return false
  }
  if (leader === null) return true
  return (
    !taken.some((other) => crosses(leader, grown(other.box, ROOM))) &&
    !taken.some((other) => other.leader !== null && meet(leader, other.leader)) &&
    !marks.some((mark, i) => i !== own && crosses(leader, mark))
  )
}

function grown({ x, y, width, height }: Box, by: number): Box {
  return { x: x - by, y: y - by, width: width + 2 * by, height: height + 2 * by }
}

export function overlap(a: Box, b: Box): boolean {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height
}

/** Whether any of a segment lies in a box: what is left of it after cutting at the four sides (Liang and Barsky, 1984). */
export function crosses({ x1, y1, x2, y2 }: Segment, box: Box): boolean {
  let from = 0
  let to = 1
  const cuts = [
    [x1 - x2, x1 - box.x],
    [x2 - x1, box.x + box.width - x1],
    [y1 - y2, y1 - box.y],
    [y2 - y1, box.y + box.height - y1],
  ] as const
  for (const [step, room] of cuts) {
    if (step === 0 && room < 0) return false
    if (step < 0) from = Math.max(from, room / step)
    if (step > 0) to = Math.min(to, room / step)
  }
  return from <= to
}

/** Whether two segments cross: the ends of each lie on both sides of the other. */
function meet(a: Segment, b: Segment): boolean {
  return areApart(a, b) && areApart(b, a)
}

function areApart(line: Segment, { x1, y1, x2, y2 }: Segment): boolean {
  const side = (x: number, y: number): number =>
    (line.x2 - line.x1) * (y - line.y1) - (line.y2 - line.y1) * (x - line.x1)
  return side(x1, y1) * side(x2, y2) < 0
}
