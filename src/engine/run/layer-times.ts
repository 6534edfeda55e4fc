import { TURN_MS } from './turns.js'

/** Weight of the newest measurement in the mean. */
const NEWEST = 0.2

/**
 * How long a layer takes, by the number of rows: known from the stretches that have run. A stretch that would keep the
 * event loop waiting is cut where that is enough to run it in place; with few cores a hand-over to another thread costs
 * more than it seems, because three threads then share two cores (a token of TinyLlama's shape with half of its layers took
 * 17.5 ms on another thread and 15.4 in place).
 */
export class LayerTimes {
  private readonly means = new Map<number, number>()

  /** Tells that `layers` layers took `ms` for `rows` rows. */
  note(rows: number, layers: number, ms: number): void {
    if (layers === 0) return
    const key = bucket(rows)
    const before = this.means.get(key)
    const each = ms / layers
    this.means.set(key, before === undefined ? each : before + NEWEST * (each - before))
  }

  /**
   * What `layers` layers are expected to take for `rows` rows, in ms: at most what fewer rows suggest, Infinity where
   * nothing is known.
   */
  expect(rows: number, layers: number): number {
    const known = this.means.get(bucket(rows))
    if (known !== undefined) return known * layers
    const fewer = Math.max(...[...this.means.keys()].filter((key) => key < rows))
    const each = this.means.get(fewer)
    return each === undefined ? Number.POSITIVE_INFINITY : ((each * rows) / fewer) * layers
  }

  /** Layers that a stretch of `rows` rows may have at most. */
  most(rows: number): number {
    const each = this.means.get(bucket(rows))
    if (each === undefined || each * 2 > TURN_MS) return Number.POSITIVE_INFINITY
    return Math.floor(TURN_MS / each)
  }
}

function bucket(rows: number): number {
  return rows <= 4 ? rows : 2 ** Math.ceil(Math.log2(rows))
}
