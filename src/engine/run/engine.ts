import { checkBridges, checkLens } from '../../depth/bridge.js'
import type { Family } from '../../families/family.js'
import type { Hyperparameters } from '../../families/hyperparameters.js'
import type { Backend } from '../../ggml/backend.js'
import { HiddenRows } from '../cache/hidden-rows.js'
import { KvCache } from '../cache/kv-cache.js'
import type { KvType } from '../cache/kv-type.js'
import { Sequence } from '../cache/sequence.js'
import type { Climber } from '../plan/climber.js'
import { nextPass, type PassLimits } from '../plan/next-pass.js'
import type { Pass, RowRange } from '../plan/pass.js'
import { attempt } from './attempt.js'
import { BridgeWeights, type LoadedBridge } from './bridges/bridge-weights.js'
import { checkFeed } from './check-feed.js'
import type { HeadWeights } from './check-head.js'
import { Decisions } from './decisions.js'
import { Heads } from './heads.js'
import { type Pauses, TURN_AFTER_MS } from './pauses.js'
import type { RowPadding } from './row-padding.js'
import type { Feed, Rise, RisenRows, StepOutcome } from './step.js'
import type { StretchParts, StretchShape } from './stretch.js'
import { StretchRunner } from './stretch-runner.js'
import type { Piece, Traveller } from './traveller.js'
import { finishInTurns } from './turns.js'

/** Fewer rows than these share a pass with others, whatever it takes: apart they would read the weights twice. */
const LONG_ROWS = 32

/** Rows that go through the head together at most where many want it. */
const MOST_HEAD_ROWS = 32

const NO_BRIDGES: ReadonlyMap<number, LoadedBridge> = new Map()

/** @param climbers the feeds of the pass's step */
export type PassListener = (pass: Pass, climbers: readonly (Climber | null)[]) => void

/** Runs layers for rows: which layers, which rows, in which order. */
export class Engine {
  readonly layers: number
  private readonly parts: StretchParts
  private readonly stretches: StretchRunner
  private readonly heads: Heads
  private readonly decisions: Decisions
  private readonly bridges: BridgeWeights
  private readonly onPass: PassListener | undefined
  /** Feeds of steps that are under way: in the pauses of one another may run. */
  private feeds = 0

  constructor(options: {
    backend: Backend
    family: Family
    hyperparameters: Hyperparameters
    weights: HeadWeights
    padding: RowPadding
    kvType: KvType
    context: number
    /** Of the KV cache; see `KvCache`. */
    mostCells?: number
    /** Told every pass before it runs. */
    onPass?: PassListener
  }) {
    const { backend, hyperparameters: h } = options
    this.layers = h.layers
    this.onPass = options.onPass
    const cache = new KvCache(backend, {
      widths: h.layer.map(({ state }) => state.headDim * state.kvHeads),
      type: options.kvType,
      context: options.context,
      ...(options.mostCells === undefined ? {} : { most: options.mostCells }),
      onMove: () => this.stretches.clear(),
    })
    const rows = new HiddenRows(backend, h.hidden, () => {
      this.stretches.clear()
      this.heads.clear()
    })
    const { family, weights, padding } = options
    this.parts = { backend, family, hyperparameters: h, weights, padding, cache, rows }
    const finish = finishInTurns()
    this.stretches = new StretchRunner(this.parts, finish)
    this.heads = new Heads({ ...this.parts, weights }, finish)
    this.decisions = new Decisions(this.heads, rows)
    this.bridges = new BridgeWeights(backend, () => {
      this.stretches.clear()
      this.heads.clear()
    })
  }

  /** Time in computes so far, in ms. */
  get spent(): { readonly layersMs: number; readonly headsMs: number } {
    return { layersMs: this.stretches.ms, headsMs: this.heads.ms }
  }

  /** Bytes of the KV cache. */
  get cacheBytes(): number {
    return this.parts.cache.bytes
  }

  /** H, the width of a hidden row. */
  get hidden(): number {
    return this.parts.hyperparameters.hidden
  }

  /** Rows that a feed may take up the layers: its own, and under exit policies those that wait. */
  rowsOf({ sequence, ids, depth }: Feed): number {
    return ids.length + (depth.kind === 'exit' ? sequence.waiting : 0)
  }

  /** True where others should not wait for the end of a step of so many rows. */
  takesLong(rows: number): boolean {
    return rows >= LONG_ROWS && this.stretches.expectMs(rows) > TURN_AFTER_MS
  }

  createSequence(): Sequence {
    return new Sequence(this.parts.cache, this.parts.rows, this.layers)
  }

  /**
   * Takes every feed up the layers, those that run the same layer together, and gives the outcomes in order.
   * @param pauses where others may step between the computes of this one
   */
  async step(feeds: readonly Feed[], pauses: Pauses | null = null): Promise<StepOutcome[]> {
    if (this.feeds === 0) this.bridges.trim()
    this.feeds += feeds.length
    try {
      return await this.climb(feeds, pauses)
    } finally {
      this.feeds -= feeds.length
    }
  }

  private async climb(feeds: readonly Feed[], pauses: Pauses | null): Promise<StepOutcome[]> {
    const travellers = feeds.map((feed) => attempt(() => this.begin(feed, this.feeds)))
    const climbers = travellers.map((t) => ('value' in t ? t.value : null))
    const limits: PassLimits = {
      layers: this.layers,
      mostLayers: (rows) => this.stretches.mostLayers(rows, pauses),
      padding: (rows) => this.parts.padding(rows),
    }
    for (;;) {
      const pass = nextPass(climbers, limits)
      if (pass === null) break
      this.onPass?.(pass, climbers)
      await this.run(pass, climbers as readonly Traveller[], pauses)
    }
    const stopped = climbers.flatMap((t) => (t !== null && t.stoppedAt !== null ? [t] : []))
    await this.decisions.speak(stopped.filter((t) => t.result === null))
    for (const t of stopped) if (t.stoppedAt === t.top) this.leave(t)
    return travellers.map((t) => {
      if ('error' in t) return t
      const { result, rowLayers, layerPasses, error } = t.value
      // Rows may have gone on with others after their sequence had its result.
      return result ? { result: { ...result, rowLayers, layerPasses } } : { error }
    })
  }

  /** Runs a pass and has those decide who do so after it. */
  private async run(pass: Pass, travellers: readonly Traveller[], pauses: Pauses | null): Promise<void> {
    const of = (feed: number): Traveller => travellers[feed] as Traveller
    const pieces = (ranges: readonly RowRange[]): Piece[] =>
      ranges.map(({ feed, from, to }) => ({ traveller: of(feed), from, to }))
    const rows = pieces(pass.rows)
    for (const t of pass.inputs.map(of)) t.input = this.parts.rows.read(t.sequence.waitingRow(t.end - 1))
    const { layers, from, narrowed, cached, sublayers, bridged } = pass
    const shape: StretchShape = { layers, from, narrowed, cached, sublayers, bridges: bridgesAfter(rows, bridged) }
    if (cached) {
      for (const { traveller } of rows) traveller.sequence.unfinished.delete(layers[0] as number)
      await this.stretches.runRanges(rows, shape, { pauses })
    } else await this.stretches.run([...rows, ...pieces(pass.riders)], shape, { pauses })
    for (const { traveller } of rows) if (traveller.error !== null) traveller.next = null
    if (pass.decides.length > 0) await this.decisions.decide(pass.decides.map(of), layers.at(-1) as number)
  }

  /**
   * Takes runs of fresh rows of several sequences through one plan, layer by layer. `visit` sees all of them after the
   * embedding, as layer -1, and after each layer of the plan and the bridge that follows it.
   */
  async rise(
    feeds: readonly Omit<Feed, 'depth'>[],
    { layers, bridges = [], mlpAfter = [] }: Rise,
    visit: (rows: RisenRows) => Promise<void>,
  ): Promise<void> {
    this.bridges.trim()
    const group = feeds.map((feed) => this.begin({ ...feed, depth: { kind: 'plan', layers, bridges } }))
    const outputs = new Map<Sequence, Map<number, Float32Array>>(feeds.map(({ sequence }) => [sequence, new Map()]))
    const rows = group.map((t): Piece => ({ traveller: t, from: t.start, to: t.end }))
    for (const layer of [-1, ...layers]) {
      const shape: StretchShape = {
        layers: layer < 0 ? [] : [layer],
        from: layer < 0 ? 'tokens' : 'rows',
        narrowed: false,
        cached: false,
        sublayers: mlpAfter.includes(layer),
        bridges: bridgesAfter(rows, [layer]),
      }
      await this.stretches.run(rows, shape, {
        seeMlp: ({ sequence }, position, mlp) => outputs.get(sequence)?.set(position, mlp),
      })
      for (const t of group) if (t.error !== null) throw t.error
      await visit({
        layer,
        hidden: (sequence, position) => this.parts.rows.read(sequence.waitingRow(position)),
        mlp: (sequence, position) => outputs.get(sequence)?.get(position) as Float32Array,
        write: (sequence, position, row) => this.parts.rows.write(sequence.waitingRow(position), row),
        head: async (rows, see, through) => {
          if (through !== undefined) checkLens([through], this.layers, this.hidden)
          const lens = through === undefined ? null : this.bridges.get(through)
          for (let first = 0; first < rows.length; first += MOST_HEAD_ROWS) {
            const piece = rows.slice(first, first + MOST_HEAD_ROWS)
            const head = await this.heads.run(
              piece.map(({ sequence, position }) => sequence.waitingRow(position)),
              null,
              lens,
            )
            piece.forEach((_, i) => see(first + i, head.logitsOf(i), head.probabilitiesOf(i)))
          }
        },
      })
    }
    for (const t of group) this.leave(t)
  }

  /** Gives back memory that nothing needs now, where there is memory to do so. Only between steps. */
  shrink(): void {
    try {
      this.parts.cache.shrink()
      this.parts.rows.shrink()
    } catch {
      return
    }
  }

  dispose(): void {
    this.stretches.clear()
    this.heads.clear()
    this.bridges.dispose()
    this.parts.cache.dispose()
    this.parts.rows.dispose()
  }

  private begin({ sequence, ids, depth, countFrom = 0, logitsFrom, signal }: Feed, batch = 1): Traveller {
    const start = sequence.length
    const end = start + ids.length
    const wantedFrom = logitsFrom ?? end - 1
    checkFeed({ sequence, ids, depth, logitsFrom: wantedFrom }, this.parts.hyperparameters.vocabulary)
    const bridges = this.bridgesOf(depth)
    const lens = this.lensOf(depth)
    sequence.reserve(ids.length)
    sequence.length += ids.length
    return {
      sequence,
      ids,
      depth,
      bridges,
      lens,
      countFrom,
      signal,
      start,
      end,
      top: depth.kind === 'plan' ? (depth.layers.at(-1) as number) : this.layers - 1,
      wantedFrom,
      batch,
      embedded: false,
      next: depth.kind === 'plan' ? (depth.layers[0] as number) : 0,
      rowLayers: 0,
      layerPasses: 0,
      checkMs: 0,
      stoppedAt: null,
      result: null,
      error: null,
    }
  }

  private bridgesOf(depth: Feed['depth']): ReadonlyMap<number, LoadedBridge> {
    if (depth.kind !== 'plan' || depth.bridges === undefined || depth.bridges.length === 0) return NO_BRIDGES
    checkBridges(depth.bridges, depth.layers, this.layers, this.hidden)
    return new Map(depth.bridges.map((bridge) => [bridge.from, this.bridges.get(bridge)]))
  }

  private lensOf(depth: Feed['depth']): ReadonlyMap<number, LoadedBridge> {
    if (depth.kind !== 'exit' || depth.lens === undefined) return NO_BRIDGES
    const { checks, last, lens } = depth
    checkLens(lens, this.layers, this.hidden)
    const read = lens.filter(({ from }) => checks.has(from) || from === last)
    return new Map(read.map((bridge) => [bridge.from, this.bridges.get(bridge)]))
  }

  /** Gives back the rows of a feed that has run all that it will ever run; at the top of a staircase nothing waits. */
  private leave(t: Traveller): void {
    const from = t.depth.kind === 'plan' ? t.start : 0
    for (const p of t.sequence.waitingPositions()) if (p >= from) t.sequence.releaseRow(p)
  }
}

/** What follows layers of rows that go through them together. */
function bridgesAfter(rows: readonly Piece[], layers: readonly number[]): ReadonlyMap<number, LoadedBridge> {
  const [first] = rows
  if (first === undefined || layers.length === 0) return NO_BRIDGES
  return new Map([...first.traveller.bridges].filter(([layer]) => layers.includes(layer)))
}
