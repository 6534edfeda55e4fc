import type { RowIndex } from '../cache/hidden-rows.js'
import type { LoadedBridge } from './bridges/bridge-weights.js'
import { CheckHead, type CheckHeadParts } from './check-head.js'
import { GraphCache } from './graph-cache.js'
import { Head, headKey } from './head.js'

/** The heads of an engine: the LM head, and what policies have cut out of it for their checks. */
export class Heads {
  /** One for each number of rows, and with a lens for each layer: with 262,144 tokens in the vocabulary 3 MB and more. */
  private readonly heads = new GraphCache<Head>({ most: 256, mostBytes: 256 << 20 })
  private readonly checkHeads = new GraphCache<CheckHead>({ most: 8, mostBytes: 256 << 20 })

  /** Time in heads so far, in ms. */
  ms = 0

  /** @param finish waits for a compute */
  constructor(
    private readonly parts: CheckHeadParts,
    private readonly finish: (running: void | Promise<void>) => Promise<void>,
  ) {}

  /** Runs the head of hidden rows, over the whole vocabulary or over some tokens, in that order, and through a lens. */
  async run(
    rows: readonly RowIndex[],
    tokens: readonly number[] | null = null,
    lens: LoadedBridge | null = null,
  ): Promise<Head> {
    const head =
      tokens === null
        ? this.heads.get(headKey(rows.length, lens), () => new Head(this.parts, rows.length, lens))
        : this.checkHeads.get(tokens.join(), () => new CheckHead(this.parts, tokens)).of(rows.length, lens)
    await this.finish(head.run(rows))
    this.ms += head.lastMs
    return head
  }

  clear(): void {
    this.heads.clear()
    this.checkHeads.clear()
  }
}
