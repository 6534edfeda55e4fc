/** Steps of a number of rows that are remembered; their median counts, so that a graph's building or a busy machine does not. */
const REMEMBERED = 9
/** What one more row is taken to cost until it is known, as a share of a row: little, so that it is tried. */
const GUESS = 0.1

/** What a kind of step takes by its number of rows, in ms: learned from the steps that ran. */
export class RowCosts {
  private readonly steps = new Map<number, number[]>()
  private readonly medians = new Map<number, number>()

  note(rows: number, ms: number): void {
    const steps = this.steps.get(rows)
    if (steps === undefined) {
      // The first of its shape built its graph.
      this.steps.set(rows, [])
      return
    }
    steps.push(ms)
    if (steps.length > REMEMBERED) steps.shift()
    const ascending = [...steps].sort((a, b) => a - b)
    this.medians.set(rows, ascending[(ascending.length - 1) >> 1] as number)
  }

  has(rows: number): boolean {
    return this.medians.has(rows)
  }

  /** Where a number of rows is not known, a little more than fewer rows and not more than more rows; NaN where none is known. */
  of(rows: number): number {
    const known = this.medians.get(rows)
    if (known !== undefined) return known
    let below = 0
    let above = Number.POSITIVE_INFINITY
    for (const key of this.medians.keys()) {
      if (key < rows && key > below) below = key
      if (key > rows && key < above) above = key
    }
    const low = this.medians.get(below)
    const high = this.medians.get(above)
    if (low === undefined) return high ?? Number.NaN
    return Math.min(low * (1 + (GUESS * (rows - below)) / below), high ?? Number.POSITIVE_INFINITY)
  }
}
