/** Runs of a number of rows that build graphs or settle how they are cut; they say nothing of what follows. */
const FIRST_RUNS = 2
/** Steps of a number of rows that are remembered; the end of their lowest third counts: a busy machine only adds. */
const REMEMBERED = 9
/** Steps after which a cost is believed, and the share of it that is believed before: too dear by chance, it would never be run again. */
const CERTAIN = 3
const BELIEVED = 0.8
/** What one more row is taken to cost until it is known, as a share of a row: little, so that it is tried. */
const GUESS = 0.2

/** What a kind of step takes by its number of rows, in ms: learned from the steps that ran. */
export class RowCosts {
  private readonly runs = new Map<number, number>()
  private readonly steps = new Map<number, number[]>()
  private readonly costs = new Map<number, number>()

  note(rows: number, ms: number): void {
    const run = (this.runs.get(rows) ?? 0) + 1
    this.runs.set(rows, run)
    if (run <= FIRST_RUNS) return
    const steps = [...(this.steps.get(rows) ?? []), ms].slice(-REMEMBERED)
    this.steps.set(rows, steps)
    const ascending = [...steps].sort((a, b) => a - b)
    const cost = ascending[Math.floor((ascending.length - 1) / 3)] as number
    this.costs.set(rows, steps.length < CERTAIN ? BELIEVED * cost : cost)
  }

  has(rows: number): boolean {
    return this.costs.has(rows)
  }

  /**
   * Where a number of rows is not known, more than fewer rows and not more than more rows; NaN where none is known.
   * @param guess what one more row is taken to cost then, as a share of a row
   */
  of(rows: number, guess = GUESS): number {
    const known = this.costs.get(rows)
    if (known !== undefined) return known
    let below = 0
    let above = Number.POSITIVE_INFINITY
    for (const key of this.costs.keys()) {
      if (key < rows && key > below) below = key
      if (key > rows && key < above) above = key
    }
    const low = this.costs.get(below)
    const high = this.costs.get(above)
    if (low === undefined) return high ?? Number.NaN
    return Math.min(low * (1 + (guess * (rows - below)) / below), high ?? Number.POSITIVE_INFINITY)
  }
}
