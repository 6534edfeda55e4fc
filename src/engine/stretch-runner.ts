import { abortedError } from './aborted.js'
import { GraphCache } from './graph-cache.js'
import { UNREAD_ROW } from './hidden-rows.js'
import { LayerTimes } from './layer-times.js'
import { type Run, Stretch, type StretchParts, type StretchShape, stretchKey } from './stretch.js'
import { cut, type Piece, rowsOf, type Traveller, wantedFrom } from './traveller.js'

/** Told the MLP output [H] of a row in the layer that has just run. */
type SeeMlp = (t: Traveller, position: number, mlp: Float32Array) => void

/** Takes rows of travellers through stretches: the graphs, kept by shape, and what they cost. */
export class StretchRunner {
  private readonly stretches = new GraphCache<Stretch>({ most: 2048, mostBytes: 128 << 20 })
  private readonly times = new LayerTimes()
  /** Of the layers that have one, each once. */
  private readonly windows: readonly (number | null)[]
  private spent = 0

  /** @param finish waits for a compute */
  constructor(
    private readonly parts: StretchParts,
    private readonly finish: (running: void | Promise<void>) => Promise<void>,
  ) {
    const windows = parts.hyperparameters.layer.map(({ window }) => window)
    this.windows = [...new Set(windows)].filter((window) => window !== null)
  }

  /** Time in computes so far, in ms. */
  get ms(): number {
    return this.spent
  }

  /** Layers that so many rows may run in one compute, so that the event loop gets its turn. */
  mostLayers(rows: number): number {
    return this.times.most(rows)
  }

  clear(): void {
    this.stretches.clear()
  }

  /** Runs one stretch for all rows that the group has at its first layer, and for those that come along. */
  async run(
    group: readonly Traveller[],
    shape: StretchShape,
    riders: readonly Piece[] = [],
    seeMlp?: SeeMlp,
  ): Promise<void> {
    const first = shape.layers[0]
    const ranges = [...rowsOf(group, first), ...riders]
    await this.runPieces(cut(ranges), shape, seeMlp)
    for (const { traveller: t, from, to } of ranges) {
      if (t.error !== null) continue
      for (const layer of shape.layers) t.sequence.cached[layer] = to
      t.embedded = true
      if (!shape.narrowed) continue
      const last = shape.layers.at(-1) as number
      if (t.top === last) for (let p = from; p < Math.min(to, t.wantedFrom); p++) t.sequence.releaseRow(p)
      else t.sequence.leaveUnfinished(last, range(from, t.end - 1))
    }
  }

  /** Runs pieces one after the other, each in one graph. */
  async runPieces(all: readonly Piece[][], shape: StretchShape, seeMlp?: SeeMlp): Promise<void> {
    const last = shape.layers.at(-1)
    for (const whole of all) {
      const piece = whole.filter(({ traveller }) => goesOn(traveller))
      if (piece.length === 0) continue
      const runs = piece.map(({ traveller: t, from, to }): Run => {
        const positions = range(from, to)
        const wanted = shape.narrowed ? Math.max(0, to - Math.max(from, wantedFrom(t, last as number))) : 0
        const kept = shape.narrowed ? positions.slice(positions.length - wanted) : positions
        return {
          slot: t.sequence.slot,
          start: from,
          source:
            shape.from === 'tokens'
              ? t.ids.slice(from - t.start, to - t.start)
              : positions.map((p) => t.sequence.waitingRow(p)),
          target: kept.map((p) => t.sequence.row(p)),
          wanted,
        }
      })
      // A piece of a prompt that only leaves keys and values still has to end in some row.
      if (shape.narrowed && runs.every((r) => r.wanted === 0)) {
        runs.push({ ...(runs.pop() as Run), wanted: 1, target: [UNREAD_ROW] })
      }
      // Where every row is wanted there is nothing to narrow, and the plain graph is the shorter one.
      const exact = { ...shape, narrowed: shape.narrowed && runs.some((r) => r.wanted < r.source.length) }
      const rows = runs.reduce((sum, r) => sum + r.source.length, 0)
      const expectedMs = this.times.expect(rows, shape.layers.length)
      const stretch = this.stretches.get(
        stretchKey(exact, runs, this.windows),
        () => new Stretch(this.parts, exact, runs, expectedMs),
      )
      await this.finish(stretch.run(runs))
      this.spent += stretch.lastMs
      if (!exact.narrowed && !exact.cached) this.times.note(rows, shape.layers.length, stretch.lastMs)
      let row = 0
      piece.forEach(({ traveller: t, from, to }, i) => {
        const counted = Math.max(0, to - Math.max(from, t.countFrom))
        // Rows that only left keys and values are counted when they run the rest of the layer, if they ever do.
        const led = shape.narrowed && last !== t.top
        t.rowLayers += led ? Math.min(counted, (runs[i] as Run).wanted) : counted * shape.layers.length
        t.layerPasses += shape.layers.length
        const first = row
        row += (runs[i] as Run).target.length
        if (!shape.sublayers) return
        if (seeMlp !== undefined)
          for (let p = from; p < to; p++) seeMlp(t, p, stretch.sublayersOf(first + p - from).mlp)
        else if (to === t.end) t.sublayers = stretch.sublayersOf(row - 1)
      })
    }
  }
}

/** False, with the reason kept, where the caller has stopped this feed. */
function goesOn(t: Traveller): boolean {
  if (t.error === null && t.signal?.aborted) t.error = abortedError(t.signal.reason)
  return t.error === null
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i)
}
