import { checkBridges, checkLens } from '../depth/bridge.js'
import type { Family, Hyperparameters } from '../families/family.js'
import type { Backend } from '../ggml/backend.js'
import { type Attempt, attempt } from './attempt.js'
import { BridgeWeights, type LoadedBridge } from './bridges/bridge-weights.js'
import { checkFeed } from './check-feed.js'
import type { HeadWeights } from './check-head.js'
import { Decisions } from './decisions.js'
import { Heads } from './heads.js'
import { HiddenRows } from './hidden-rows.js'
import { KvCache } from './kv-cache.js'
import { type Pauses, TURN_AFTER_MS } from './pauses.js'
import type { RowPadding } from './row-padding.js'
import { Sequence } from './sequence.js'
import type { Feed, Rise, RisenRows, StepOutcome } from './step.js'
import type { StretchParts, StretchShape } from './stretch.js'
import { StretchRunner } from './stretch-runner.js'
import {
  after,
  checksAt,
  goTogether,
  leads,
  needsInput,
  type Piece,
  rowsFrom,
  sameBridge,
  type Traveller,
} from './traveller.js'
import { finishInTurns } from './turns.js'

/** Fewer rows than these share a pass with others, whatever it takes: apart they would read the weights twice. */
const LONG_ROWS = 32

/** Rows that go through the head together at most where many want it. */
const MOST_HEAD_ROWS = 32

const NO_BRIDGES: ReadonlyMap<number, LoadedBridge> = new Map()

/** Some layers' way of a step. */
interface Advance {
  /** Who runs. */
  readonly group: readonly Traveller[]
  /** Who runs layers above, and who has stopped. */
  readonly others: readonly Traveller[]
  readonly stopped: readonly Traveller[]
  /** The layer that the group runs next. */
  readonly first: number
  readonly pauses: Pauses | null
}

/** Runs layers for rows: which layers, which rows, in which order. */
export class Engine {
  readonly layers: number
  private readonly parts: StretchParts
  private readonly stretches: StretchRunner
  private readonly heads: Heads
  private readonly decisions: Decisions
  private readonly bridges: BridgeWeights
  /** Feeds of steps that are under way: in the pauses of one another may run. */
  private feeds = 0

  constructor(options: {
    backend: Backend
    family: Family
    hyperparameters: Hyperparameters
    weights: HeadWeights
    padding: RowPadding
    cacheType: 'f32' | 'f16'
    context: number
    /** Of the KV cache; see `KvCache`. */
    mostCells?: number
  }) {
    const { backend, hyperparameters: h } = options
    this.layers = h.layers
    const cache = new KvCache(backend, {
      widths: h.layer.map(({ state }) => state.headDim * state.kvHeads),
      type: options.cacheType,
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

  /** True where others should not wait for the end of a feed: a long prompt, or many rows that wait and may run layers now. */
  takesLong({ sequence, ids, depth }: Feed): boolean {
    const rows = ids.length + (depth.kind === 'exit' ? sequence.waiting : 0)
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
    for (;;) {
      const running = travellers.flatMap((t) => ('value' in t && t.value.next !== null ? [t.value] : []))
      if (running.length === 0) break
      const layer = Math.min(...running.map((t) => t.next as number))
      const first = running.find((t) => t.next === layer) as Traveller
      const group = running.filter((t) => goTogether(t, first))
      const others = running.filter((t) => !group.includes(t))
      await this.advance({ group, others, stopped: stoppedOf(travellers), first: layer, pauses })
    }
    const stopped = stoppedOf(travellers)
    await this.decisions.speak(stopped.filter((t) => t.result === null))
    for (const t of stopped) if (t.stoppedAt === t.top) this.leave(t)
    return travellers.map((t) => {
      if ('error' in t) return t
      const { result, rowLayers, layerPasses, error } = t.value
      // Rows may have gone on with others after their sequence had its result.
      return result ? { result: { ...result, rowLayers, layerPasses } } : { error }
    })
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
    for (const layer of [-1, ...layers]) {
      const shape: StretchShape = {
        layers: layer < 0 ? [] : [layer],
        from: layer < 0 ? 'tokens' : 'rows',
        narrowed: false,
        cached: false,
        sublayers: mlpAfter.includes(layer),
        bridges: bridgesAfter(group, [layer]),
      }
      await this.stretches.run(group, shape, {
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

  /** Runs as many layers as the group can go without a decision, then decides for those who check or stop there. */
  private async advance({ group: all, others, stopped, first, pauses }: Advance): Promise<void> {
    if (first === 0 && all.some((t) => !t.embedded && needsInput(t, 0))) {
      const shape: StretchShape = {
        layers: [],
        from: 'tokens',
        narrowed: false,
        cached: false,
        sublayers: false,
        bridges: bridgesAfter(all, [-1]),
      }
      await this.stretches.run(all, shape, { pauses })
    }
    for (const t of all) if (t.error !== null) t.next = null
    const group = all.filter((t) => t.error === null)
    if (group.length === 0) return
    await this.finishRows(group, first - 1, pauses)
    for (const t of group) if (needsInput(t, first)) t.input = this.parts.rows.read(t.sequence.waitingRow(t.end - 1))
    const layers = this.extend(group, others, first, pauses)
    const embedded = group[0]?.embedded === true
    const leading =
      group.some((t) => leads(t, layers.at(-1) as number)) &&
      group.every((t) => leads(t, layers.at(-1) as number) || t.top === layers.at(-1))
    // The rows that come after need their hidden rows at the input of the layer that is led.
    if (leading && (layers.length > 1 || !embedded)) layers.pop()
    const last = layers.at(-1) ?? first - 1
    const wanted = group.every((t) => t.top === last || leads(t, last))
    const shape: StretchShape = {
      layers,
      from: embedded ? 'rows' : 'tokens',
      narrowed: wanted && layers.length > 0,
      cached: false,
      sublayers: group.some((t) => checksAt(t, last) && t.depth.kind === 'exit' && t.depth.needs.sublayers),
      bridges: bridgesAfter(group, embedded ? layers : [-1, ...layers]),
    }
    await this.stretches.run(group, shape, { riders: this.ridersOf(group, stopped, shape), pauses })
    if (layers.length === 0) return
    await this.decisions.decide(group, last)
  }

  /** Runs the rest of a layer for rows that only left keys and values there, before the layer above wants them. */
  private async finishRows(group: readonly Traveller[], layer: number, pauses: Pauses | null): Promise<void> {
    const behind = group.flatMap((t): Piece[] => {
      const positions = t.sequence.unfinished.get(layer)
      t.sequence.unfinished.delete(layer)
      return positions === undefined ? [] : spans(positions).map(({ from, to }) => ({ traveller: t, from, to }))
    })
    if (behind.length === 0) return
    const shape: StretchShape = {
      layers: [layer],
      from: 'rows',
      narrowed: false,
      cached: true,
      sublayers: false,
      bridges: NO_BRIDGES,
    }
    await this.stretches.runRanges(behind, shape, { pauses })
  }

  private extend(
    group: readonly Traveller[],
    others: readonly Traveller[],
    first: number,
    pauses: Pauses | null,
  ): number[] {
    const layers = [first]
    const rows = group.reduce((sum, t) => sum + t.end - rowsFrom(t, first), 0)
    const most = this.stretches.mostLayers(rows, pauses)
    for (let last = first; ; last = layers.at(-1) as number) {
      const next = after(group[0] as Traveller, last)
      if (next === null || layers.length >= most) return layers
      const together = group.every(
        (t) =>
          after(t, last) === next &&
          !checksAt(t, last) &&
          !needsInput(t, next) &&
          rowsFrom(t, next) === rowsFrom(t, first) &&
          sameBridge(t, group[0] as Traveller, next),
      )
      if (!together || others.some((t) => (t.next as number) <= next)) return layers
      layers.push(next)
    }
  }

  /**
   * Rows that wait at a stretch of sequences that have stopped below it: where the group's rows are filled up, these take the
   * places, since they have to go through sooner or later and cost nothing now.
   */
  private ridersOf(group: readonly Traveller[], stopped: readonly Traveller[], shape: StretchShape): Piece[] {
    const [first = 0] = shape.layers
    const leading = shape.narrowed && shape.layers.at(-1) !== this.layers - 1
    if (shape.from === 'tokens' || first === 0 || leading || shape.bridges.size > 0) return []
    const rows = group.reduce((sum, t) => sum + t.end - rowsFrom(t, first), 0)
    let places = this.parts.padding(rows) - rows
    return stopped.flatMap((t) => {
      const { cached, unfinished } = t.sequence
      if (places === 0 || t.depth.kind !== 'exit' || unfinished.size > 0) return []
      const from = cached[first] as number
      // Rows whose logits are still to be read stay where they are.
      const to = Math.min(cached[first - 1] as number, t.wantedFrom, from + places)
      if (to <= from || shape.layers.some((layer) => cached[layer] !== from)) return []
      places -= to - from
      return [{ traveller: t, from, to }]
    })
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

/** What follows layers of a group, which goes through them together. */
function bridgesAfter(group: readonly Traveller[], layers: readonly number[]): ReadonlyMap<number, LoadedBridge> {
  const [first] = group
  if (first === undefined || first.bridges.size === 0) return NO_BRIDGES
  return new Map([...first.bridges].filter(([layer]) => layers.includes(layer)))
}

/** The travellers of a step that have stopped, and not by an error. */
function stoppedOf(travellers: readonly Attempt<Traveller>[]): Traveller[] {
  return travellers.flatMap((t) => ('value' in t && t.value.stoppedAt !== null ? [t.value] : []))
}

/** Ascending positions as ranges. */
function spans(positions: readonly number[]): { from: number; to: number }[] {
  const all: { from: number; to: number }[] = []
  for (const p of positions) {
    const open = all.at(-1)
    if (open !== undefined && open.to === p) open.to++
    else all.push({ from: p, to: p + 1 })
  }
  return all
}
