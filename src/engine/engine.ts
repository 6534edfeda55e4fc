import { createTopTwo, topTwo } from '../depth/features.js'
import { allLayers } from '../depth/plan.js'
import { InputError } from '../errors.js'
import type { Family, Hyperparameters, Weights } from '../families/family.js'
import type { Backend } from '../ggml/backend.js'
import { abortedError } from './aborted.js'
import { exitCheck } from './exit-check.js'
import { GraphCache } from './graph-cache.js'
import { Head } from './head.js'
import { HiddenRows, UNREAD_ROW } from './hidden-rows.js'
import { KvCache } from './kv-cache.js'
import { LayerTimes } from './layer-times.js'
import { Sequence } from './sequence.js'
import type { Feed, StepOutcome } from './step.js'
import { type Run, Stretch, type StretchParts, type StretchShape, stretchKey } from './stretch.js'
import { after, checksAt, needsInput, pieces, rowsFrom, type Traveller } from './traveller.js'
import { createTurns } from './turns.js'

/** Rows that go through the head together at most in a trace. */
const MOST_HEAD_ROWS = 32

/** Runs layers for rows: which layers, which rows, in which order. */
export class Engine {
  readonly layers: number
  private readonly parts: StretchParts
  private readonly stretches = new GraphCache<Stretch>({ most: 256, mostBytes: 64 << 20 })
  private readonly heads = new GraphCache<Head>({ most: 16, mostBytes: 64 << 20 })
  private readonly top = createTopTwo()
  private readonly times = new LayerTimes()
  private readonly turns = createTurns()

  constructor(options: {
    backend: Backend
    family: Family
    hyperparameters: Hyperparameters
    weights: Weights
    cacheType: 'f32' | 'f16'
    context: number
  }) {
    const { backend, hyperparameters: h } = options
    this.layers = h.layers
    const cache = new KvCache(backend, {
      layers: h.layers,
      width: h.headDim * h.kvHeads,
      type: options.cacheType,
      context: options.context,
      onMove: () => this.stretches.clear(),
    })
    const rows = new HiddenRows(backend, h.hidden, () => {
      this.stretches.clear()
      this.heads.clear()
    })
    this.parts = { backend, family: options.family, hyperparameters: h, weights: options.weights, cache, rows }
  }

  createSequence(): Sequence {
    return new Sequence(this.parts.cache, this.parts.rows, this.layers)
  }

  /** Takes every feed up the layers, those that run the same layer together, and gives the outcomes in order. */
  async step(feeds: readonly Feed[]): Promise<StepOutcome[]> {
    const travellers = feeds.map((feed) => attempt(() => this.begin(feed)))
    for (;;) {
      const running = travellers.flatMap((t) => ('value' in t && t.value.next !== null ? [t.value] : []))
      if (running.length === 0) break
      const layer = Math.min(...running.map((t) => t.next as number))
      const first = running.find((t) => t.next === layer) as Traveller
      const group = running.filter((t) => t.next === layer && t.embedded === first.embedded)
      const others = running.filter((t) => !group.includes(t))
      await this.advance(group, others, layer)
    }
    return travellers.map((t) => {
      if ('error' in t) return t
      return t.value.result ? { result: t.value.result } : { error: t.value.error }
    })
  }

  /**
   * A full-depth run of fresh rows that shows every layer: `visit` gets, layer by layer and position by position, the
   * row after the layer [H] and the head's logits of it [V]; the logits are valid during the call.
   */
  async trace(
    sequence: Sequence,
    ids: readonly number[],
    visit: (layer: number, position: number, hidden: Float32Array, logits: Float32Array) => void,
    afterLayer: () => void = () => {},
  ): Promise<void> {
    const t = this.begin({ sequence, ids, depth: { kind: 'plan', layers: allLayers(this.layers) } })
    for (let layer = 0; layer < this.layers; layer++) {
      await this.runStretch([t], {
        layers: [layer],
        from: t.embedded ? 'rows' : 'tokens',
        narrowed: false,
        sublayers: false,
      })
      for (let p = t.start; p < t.end; p += MOST_HEAD_ROWS) {
        const rows = Array.from({ length: Math.min(MOST_HEAD_ROWS, t.end - p) }, (_, i) => sequence.row(p + i))
        const head = await this.runHead(rows)
        rows.forEach((row, i) => {
          visit(layer, p + i, this.parts.rows.read(row), head.logitsOf(i))
        })
      }
      afterLayer()
    }
    this.leave(t)
  }

  dispose(): void {
    this.stretches.clear()
    this.heads.clear()
    this.parts.cache.dispose()
    this.parts.rows.dispose()
  }

  private begin({ sequence, ids, depth, countFrom = 0, signal }: Feed): Traveller {
    if (ids.length === 0) throw new InputError('a step needs at least one token')
    const start = sequence.length
    if (depth.kind === 'plan') {
      const behind = depth.layers.find((l) => sequence.cached[l] !== start)
      if (behind !== undefined) {
        throw new InputError(`layer ${behind} has not seen every position of the sequence, so a plan cannot use it`)
      }
    } else if (sequence.waiting !== start - sequence.complete) {
      throw new InputError('a skip plan has left layers out for this sequence, so it cannot go on under an exit policy')
    }
    sequence.reserve(ids.length)
    sequence.length += ids.length
    return {
      sequence,
      ids,
      depth,
      countFrom,
      signal,
      start,
      end: start + ids.length,
      embedded: false,
      next: depth.kind === 'plan' ? (depth.layers[0] as number) : 0,
      rowLayers: 0,
      layerPasses: 0,
      checkMs: 0,
      result: null,
      error: null,
    }
  }

  /** Runs as many layers as the group can go without a decision, then decides for those who check or stop there. */
  private async advance(all: readonly Traveller[], others: readonly Traveller[], first: number): Promise<void> {
    if (first === 0 && all.some((t) => !t.embedded && needsInput(t, 0))) {
      await this.runStretch(all, { layers: [], from: 'tokens', narrowed: false, sublayers: false })
    }
    for (const t of all) if (t.error !== null) t.next = null
    const group = all.filter((t) => t.error === null)
    if (group.length === 0) return
    for (const t of group) if (needsInput(t, first)) t.input = this.parts.rows.read(t.sequence.waitingRow(t.end - 1))
    const layers = this.extend(group, others, first)
    const last = layers.at(-1) as number
    await this.runStretch(group, {
      layers,
      from: group[0]?.embedded ? 'rows' : 'tokens',
      narrowed: group.every((t) => this.endsFor(t, last)),
      sublayers: group.some((t) => checksAt(t, last) && t.depth.kind === 'exit' && t.depth.needs.sublayers),
    })
    await this.decide(group, last)
  }

  private extend(group: readonly Traveller[], others: readonly Traveller[], first: number): number[] {
    const layers = [first]
    const most = this.times.most(group.reduce((rows, t) => rows + t.end - rowsFrom(t, first), 0))
    for (let last = first; ; last = layers.at(-1) as number) {
      const next = after(group[0] as Traveller, last)
      if (next === null || layers.length >= most) return layers
      const together = group.every(
        (t) =>
          after(t, last) === next &&
          !checksAt(t, last) &&
          !needsInput(t, next) &&
          rowsFrom(t, next) === rowsFrom(t, first),
      )
      if (!together || others.some((t) => (t.next as number) <= next)) return layers
      layers.push(next)
    }
  }

  /** True where no layer can want this traveller's rows after `layer`. */
  private endsFor(t: Traveller, layer: number): boolean {
    return t.depth.kind === 'plan' ? after(t, layer) === null : layer === this.layers - 1
  }

  /** Runs one stretch for all rows that the group has at its first layer, in pieces. */
  private async runStretch(group: readonly Traveller[], shape: StretchShape): Promise<void> {
    const first = shape.layers[0]
    for (const whole of pieces(group, first)) {
      const piece = whole.filter(({ traveller }) => goesOn(traveller))
      if (piece.length === 0) continue
      const runs = piece.map(({ traveller: t, from, to }): Run => {
        const positions = range(from, to)
        const wanted = shape.narrowed ? (to === t.end ? 1 : 0) : 0
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
        stretchKey(exact, runs),
        () => new Stretch(this.parts, exact, runs, expectedMs),
      )
      await this.finishCompute(stretch.run(runs))
      this.times.note(rows, shape.layers.length, stretch.lastMs)
      let row = 0
      piece.forEach(({ traveller: t, from, to }, i) => {
        t.rowLayers += Math.max(0, to - Math.max(from, t.countFrom)) * shape.layers.length
        t.layerPasses += shape.layers.length
        row += (runs[i] as Run).target.length
        if (shape.sublayers && to === t.end) t.sublayers = stretch.sublayersOf(row - 1)
      })
    }
    for (const t of group) {
      if (t.error !== null) continue
      const from = first === undefined ? t.end : rowsFrom(t, first)
      for (const layer of shape.layers) t.sequence.cached[layer] = t.end
      t.embedded = true
      if (shape.narrowed) for (let p = from; p < t.end - 1; p++) t.sequence.releaseRow(p)
    }
  }

  private async decide(group: readonly Traveller[], layer: number): Promise<void> {
    for (const t of group) t.next = t.error === null ? after(t, layer) : null
    const asking = group.filter((t) => t.error === null && (t.next === null || checksAt(t, layer)))
    if (asking.length === 0) return
    const started = performance.now()
    const head = await this.runHead(asking.map((t) => t.sequence.waitingRow(t.end - 1)))
    const stopped: { traveller: Traveller; index: number }[] = []
    asking.forEach((t, i) => {
      const exits = checksAt(t, layer) ? attempt(() => this.exits(t, layer, head, i)) : { value: false }
      if ('error' in exits) {
        t.error = exits.error
        t.next = null
      } else if (exits.value || t.next === null) stopped.push({ traveller: t, index: i })
    })
    const share = (performance.now() - started) / asking.length
    for (const t of asking) if (checksAt(t, layer)) t.checkMs += share
    for (const { traveller: t, index } of stopped) {
      t.next = null
      this.finish(t, layer, head, index)
    }
  }

  private exits(t: Traveller, layer: number, head: Head, index: number): boolean {
    if (t.depth.kind !== 'exit') return false
    const { needs } = t.depth
    const logits = head.logitsOf(index)
    return t.depth.exits(
      exitCheck({
        layer,
        top: topTwo(logits, this.top),
        probabilities: head.probabilitiesOf(index),
        ...(needs.logits ? { logits: logits.slice() } : {}),
        ...(needs.hidden
          ? { hidden: this.parts.rows.read(t.sequence.waitingRow(t.end - 1)), input: t.input as Float32Array }
          : {}),
        ...(needs.sublayers ? t.sublayers : {}),
      }),
    )
  }

  private finish(t: Traveller, layer: number, head: Head, index: number): void {
    const logits = head.logitsOf(index).slice()
    const { top, topValue } = topTwo(logits, this.top)
    t.result = {
      logits,
      top,
      topValue,
      logSumExp: topValue - Math.log(head.probabilitiesOf(index)[top] ?? Number.NaN),
      depth: t.depth.kind === 'plan' ? t.depth.layers.length : layer + 1,
      rowLayers: t.rowLayers,
      layerPasses: t.layerPasses,
      checkMs: t.checkMs,
    }
    if (this.endsFor(t, layer)) this.leave(t)
  }

  /** Gives back the rows of a feed that has run all that it will ever run; at the top of a staircase nothing waits. */
  private leave(t: Traveller): void {
    const from = t.depth.kind === 'plan' ? t.start : 0
    for (const p of t.sequence.waitingPositions()) if (p >= from) t.sequence.releaseRow(p)
  }

  private async runHead(rows: readonly number[]): Promise<Head> {
    const head = this.heads.get(String(rows.length), () => new Head(this.parts, rows.length))
    await this.finishCompute(head.run(rows))
    return head
  }

  private async finishCompute(running: void | Promise<void>): Promise<void> {
    if (running) await running
    const turn = this.turns.give()
    if (turn) await turn
  }
}

/** False, with the reason kept, where the caller has stopped this feed. */
function goesOn(t: Traveller): boolean {
  if (t.error === null && t.signal?.aborted) t.error = abortedError(t.signal.reason)
  return t.error === null
}

function attempt<T>(action: () => T): { value: T } | { error: unknown } {
  try {
    return { value: action() }
  } catch (error) {
    return { error }
  }
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i)
}
