/** Positions `from` .. `to - 1` of the sequence of a step's feed. */
export interface RowRange {
  /** Which feed of the step. */
  readonly feed: number
  readonly from: number
  readonly to: number
}

/**
 * What runs next in a step, as plain data: layers, and the rows that go through them together, each over its own sequence's keys and values. A pass
 * ends where somebody must decide, or where rows need something before they go on.
 */
export interface Pass {
  /** In the order they run; none where rows are only embedded. */
  readonly layers: readonly number[]
  /** Whether rows begin as tokens, or where their hidden rows are. */
  readonly from: 'tokens' | 'rows'
  readonly rows: readonly RowRange[]
  /** Rows that wait at these layers for sequences that have stopped below, and take places that cost nothing. */
  readonly riders: readonly RowRange[]
  /** In the last layer only rows that are wanted are computed; the others leave their keys and values. */
  readonly narrowed: boolean
  /** The rows' keys and values are in the cache already: the rest of a layer runs for rows that only left those. */
  readonly cached: boolean
  /** The last layer's attention and MLP outputs are kept for the wanted rows. */
  readonly sublayers: boolean
  /** Layers that a bridge follows; -1 for the embedding. */
  readonly bridged: readonly number[]
  /** Feeds whose policies read the hidden row that goes into the pass. */
  readonly inputs: readonly number[]
  /** Feeds that are asked, or stop, after the last layer. */
  readonly decides: readonly number[]
}

/** What a pass is told with, for people. */
export interface PassNames {
  /** A feed's sequence. */
  readonly sequence: (feed: number) => number
  /** What happens to a feed after the last layer of the pass; '' where it goes on. */
  readonly decides: (feed: number) => string
}

/** A pass in one line: `layers 0-7, rows 24-27 of sequence 3: sequence 3 is checked`. */
export function passText(pass: Pass, { sequence, decides }: PassNames): string {
  const { layers, rows, riders, from } = pass
  const what = layers.length === 0 ? 'embedding' : `${from === 'tokens' ? 'embedding, ' : ''}${layersText(layers)}`
  const of = (range: RowRange): string => `${rowsText(range)} of sequence ${sequence(range.feed)}`
  const count = rows.reduce((sum, range) => sum + range.to - range.from, 0)
  const marks = [
    ...(pass.cached ? ['the rest of the layer'] : []),
    ...(pass.narrowed && count > pass.decides.length ? ['other rows leave keys and values'] : []),
    ...(pass.bridged.length > 0 ? [`bridges after ${pass.bridged.join(', ')}`] : []),
    ...(riders.length > 0 ? [`in free places ${riders.map(of).join(', ')}`] : []),
  ]
  const ends = pass.decides.flatMap((feed) =>
    decides(feed) === '' ? [] : [`sequence ${sequence(feed)} ${decides(feed)}`],
  )
  const tail = ends.length === 0 ? '' : `: ${ends.join(', ')}`
  return `${what}, ${rows.map(of).join(', ')}${marks.length > 0 ? ` (${marks.join('; ')})` : ''}${tail}`
}

function rowsText({ from, to }: RowRange): string {
  return to === from + 1 ? `row ${from}` : `rows ${from}-${to - 1}`
}

/** `layer 4`, `layers 0-3,8`. */
function layersText(layers: readonly number[]): string {
  const runs: [number, number][] = []
  for (const layer of layers) {
    const last = runs.at(-1)
    if (last !== undefined && last[1] === layer - 1) last[1] = layer
    else runs.push([layer, layer])
  }
  const text = runs.map(([first, last]) => (first === last ? String(first) : `${first}-${last}`)).join(',')
  return `${layers.length === 1 ? 'layer' : 'layers'} ${text}`
}

/**
 * Cuts ranges of rows into pieces.
 * @param most rows of a piece, asked for when it begins
 */
export function* cut<Range extends { readonly from: number; readonly to: number }>(
  ranges: readonly Range[],
  most: () => number,
): Generator<Range[]> {
  let piece: Range[] = []
  let room = most()
  for (const range of ranges) {
    let { from } = range
    while (from < range.to) {
      const to = Math.min(range.to, from + room)
      piece.push({ ...range, from, to })
      room -= to - from
      from = to
      if (room === 0) {
        yield piece
        piece = []
        room = most()
      }
    }
  }
  if (piece.length > 0) yield piece
}
