import { UNREAD_ROW } from '../cache/hidden-rows.js'
import { wantedFrom } from '../plan/climber.js'
import { cut } from '../plan/pass.js'
import { abortedError } from './aborted.js'
import { GraphCache } from './graph-cache.js'
import { LayerTimes } from './layer-times.js'
import type { Pauses } from './pauses.js'
import { type Run, Stretch, type StretchParts, type StretchShape, stretchKey } from './stretch.js'
import type { Piece, Traveller } from './traveller.js'

/**
 * Rows that go through a stretch together at most. Longer prompts go in pieces: that bounds a graph's memory, and what a
 * layer hands on stays in the caches (512 tokens of TinyLlama's shape: 230 tokens/s in pieces of 256, 219 in one).
 */
const MOST_ROWS = 256

/** What a stretch may have beside its rows. */
interface Along {
  /** Told the MLP output [H] of every row in the layer that has just run. */
  readonly seeMlp?: (t: Traveller, position: number, mlp: Float32Array) => void
  /** Of a step that lets others in between its computes. */
  readonly pauses?: Pauses | null
}

/** A piece that takes more than this share of what a compute may take has half of the rows: those take more than half of the time. */
const DEARER = 1.1

/** What twice the rows are taken to cost. */
const TWICE = 1.8

/** A piece that lets others in has at least so many rows: fewer read the weights for little. */
const LEAST_ROWS = 32

/** Takes rows of travellers through stretches: the graphs, kept by shape, and what they cost. */
export class StretchRunner {
  private readonly stretches = new GraphCache<Stretch>({ most: 2048, mostBytes: 128 << 20 })
  /** Of long prompts: a piece of one takes tens of MB and is hardly ever asked for again, and would drive out what every step needs. */
  private readonly ofPauses = new GraphCache<Stretch>({ most: 256, mostBytes: 64 << 20 })
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

  /** Layers that so many rows may run in one compute, so that the event loop and others get their turns. */
  mostLayers(rows: number, pauses: Pauses | null): number {
    const most = this.times.most(rows)
    if (pauses === null) return most
    const each = this.times.expect(Math.min(rows, MOST_ROWS), 1)
    return Math.min(most, Math.max(1, Math.floor(pauses.mostMs / each)))
  }

  /** What all layers are expected to take for so many rows, in ms; Infinity where nothing is known. */
  expectMs(rows: number): number {
    return this.times.expect(rows, this.parts.hyperparameters.layers)
  }

  clear(): void {
    this.stretches.clear()
    this.ofPauses.clear()
  }

  /** Runs one stretch for all rows that there are at its first layer, and notes that its layers have seen them. */
  async run(ranges: readonly Piece[], shape: StretchShape, along: Along = {}): Promise<void> {
    await this.runRanges(ranges, shape, along)
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

  /** Runs ranges of rows in pieces, one after the other, each in one graph. */
  async runRanges(ranges: readonly Piece[], shape: StretchShape, { seeMlp, pauses }: Along = {}): Promise<void> {
    const last = shape.layers.at(-1)
    let most = this.mostRows(shape, pauses ?? null)
    for (const whole of cut(ranges, () => most)) {
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
      const stretch = (pauses ? this.ofPauses : this.stretches).get(
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
      if (!pauses) continue
      most = nextRows(rows, stretch.lastMs, pauses.mostMs)
      await pauses.give()
    }
  }

  /** Rows of the first piece at most: fewer than else where others wait for its end. */
  private mostRows({ layers }: StretchShape, pauses: Pauses | null): number {
    const mostMs = pauses?.mostMs ?? Number.POSITIVE_INFINITY
    let rows = MOST_ROWS
    while (rows > LEAST_ROWS && this.times.expect(rows, layers.length) > DEARER * mostMs) rows /= 2
    return rows
  }
}

/** Rows of the next piece after one of so many that took `ms`: what attends to more positions takes longer. */
function nextRows(rows: number, ms: number, mostMs: number): number {
  if (ms > DEARER * mostMs) return Math.max(LEAST_ROWS, Math.floor(rows / 2))
  return TWICE * ms < DEARER * mostMs ? Math.min(MOST_ROWS, 2 * rows) : rows
}

/** False, with the reason kept, where the caller has stopped this feed. */
function goesOn(t: Traveller): boolean {
  if (t.error === null && t.signal?.aborted) t.error = abortedError(t.signal.reason)
  return t.error === null
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i)
}
