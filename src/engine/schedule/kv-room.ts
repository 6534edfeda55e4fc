import { InputError } from '../../errors.js'

/** Cells that somebody keeps without using them now, and may lose: an idle chat's. */
export interface KeptCells {
  readonly cells: number
  /** Gives them back; what they held is computed again when it is wanted. */
  readonly forget: () => void
}

/**
 * The account of the KV cache: cells that running sequences may come to need, reserved before they begin, and those that idle ones keep. Where
 * somebody needs room, who has been idle for longest loses theirs.
 */
export class KvRoom {
  private taken = 0
  /** The longest idle first. */
  private readonly kept = new Set<KeptCells>()

  /**
   * @param cells that there may be in all
   * @param cellBytes of a cell in all layers
   */
  constructor(
    readonly cells: number,
    readonly cellBytes: number,
  ) {}

  /** Throws InputError where not even all cells are enough. */
  check(cells: number): void {
    if (cells <= this.cells) return
    throw new InputError(
      `prompt and new tokens may need ${this.text(cells)} of KV cache, and ${this.text(this.cells)}, in slots of 256 tokens, is all that it may have: ask for fewer tokens, or load the model with a larger kvMemory (--kv-memory)`,
      'kv_memory',
    )
  }

  private text(cells: number): string {
    return `${((cells * this.cellBytes) / 2 ** 20).toFixed(0)} MiB`
  }

  /** Cells of running sequences. */
  get reserved(): number {
    return this.taken
  }

  /** Cells of idle sequences. */
  get idle(): number {
    return [...this.kept].reduce((sum, { cells }) => sum + cells, 0)
  }

  /** Reserves cells; false where running sequences leave too few. Who is idle makes room. */
  take(cells: number): boolean {
    if (this.taken + cells > this.cells) return false
    for (const one of this.kept) {
      if (this.taken + this.idle + cells <= this.cells) break
      this.kept.delete(one)
      one.forget()
    }
    this.taken += cells
    return true
  }

  give(cells: number): void {
    this.taken -= cells
  }

  /** Notes that somebody is idle. */
  keep(kept: KeptCells): void {
    this.kept.add(kept)
  }

  /** Whoever was idle runs again, or is gone: what it holds counts as its own no more. */
  wake(kept: KeptCells): void {
    this.kept.delete(kept)
  }
}
