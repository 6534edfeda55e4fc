/** How long others wait for a long step, in ms, before they have their turn. */
export const TURN_AFTER_MS = 45

/**
 * What a compute may take where nobody waits yet, in ms: whoever comes meanwhile waits for its end, and shorter ones cost the prompt (SmolLM2,
 * 1,024 tokens: computes of 35 ms a tenth).
 */
const ALONE_MS = 250

/**
 * The pauses of a step that takes long: between two of its computes other sequences have a step of their own. Nothing that a
 * compute uses is held across a pause.
 */
export class Pauses {
  private since = performance.now()
  private before = this.since

  /** @param afterMs how long others wait for a pause */
  constructor(
    private readonly others: {
      /** True where others wait for their turn. */
      readonly wait: () => boolean
      /** Lets them step. */
      readonly turn: () => Promise<void>
    },
    private readonly afterMs = TURN_AFTER_MS,
  ) {}

  /** What a compute may take at most, in ms. */
  get mostMs(): number {
    return this.others.wait() ? this.afterMs : ALONE_MS
  }

  /** To be called after every compute: others have their turn where another one like it would make them wait too long. */
  async give(): Promise<void> {
    const now = performance.now()
    const last = now - this.before
    this.before = now
    if (now - this.since + last < this.afterMs) return
    await this.others.turn()
    this.since = performance.now()
    this.before = this.since
  }
}
