import { float32ToFloat16 } from '../../checkpoint/float16.js'
import type { AttentionOptions } from '../../families/family.js'
import type { Hyperparameters, LayerFacts } from '../../families/hyperparameters.js'
import type { Graph, Scores, Tensor } from '../../ggml/graph.js'
import { type KvCache, type Slot, valueIndex } from '../cache/kv-cache.js'

/** Consecutive positions of one sequence whose attention is computed, over its own cells. */
interface AttendingRun {
  readonly slot: Slot
  readonly start: number
  readonly source: readonly number[]
  readonly wanted: number
}

/**
 * True where queries are attended by matrix products, which serve the heads of a group together, and not by ggml's tiled
 * kernel, which never holds all scores. Two threads, 32 heads in 4 groups, f16: 1 query over 2,048 cells takes 0.62 ms
 * instead of 1.54, 16 over 512 take 1.36 instead of 2.88, but 64 over 512 5.3 instead of 3.2.
 */
function few(queries: number, cells: number): boolean {
  return queries < 32 && queries * 16 <= cells
}

const NEGATIVE_INFINITY_F16 = 0xfc00

/** Half precision holds whole numbers up to here: a mask of ALiBi's distances over more cells is f32. */
const MOST_F16_CELLS = 2048

/** -2047 .. 0 in half precision. */
const F16_DISTANCES = Uint16Array.from({ length: MOST_F16_CELLS }, (_, i) => float32ToFloat16(i + 1 - MOST_F16_CELLS))

const MOST_BLOCK = 64

/**
 * Cells that a run attends over: its last position, rounded up so that a graph serves many tokens; the cells beyond are
 * masked. Steps of 64 while that is cheap to rebuild, 256 beyond.
 */
export function cellsOf(run: AttendingRun): number {
  const positions = run.start + run.source.length
  const step = stepOf(run)
  return Math.min(Math.ceil(positions / step) * step, run.slot.capacity)
}

function stepOf({ start, source }: AttendingRun): number {
  return start + source.length <= 512 ? 64 : 256
}

/** The first of the cells that a run attends to: what lies before its first row's window is left out, by the same steps. */
function firstCell(run: AttendingRun, window: number | null): number {
  if (window === null) return 0
  const step = stepOf(run)
  return Math.max(0, Math.floor((run.start + 1 - window) / step) * step)
}

/**
 * Values go into the cache in blocks of this many elements that stand together there: whole rows, or where a sequence's
 * values stand transposed, the largest power of two of cells that all runs start at and fill. One by one, the values of
 * 256 rows of TinyLlama's shape take 0.6 ms a layer, in blocks of 64 a fifth of that.
 */
function blockOf(runs: readonly AttendingRun[]): number | 'rows' {
  if (runs.every(({ slot }) => !slot.transposed)) return 'rows'
  if (!runs.every(({ slot }) => slot.transposed)) return 1
  const bits = runs.reduce((all, r) => all | r.start | r.source.length, MOST_BLOCK)
  return bits & -bits
}

/**
 * What the attention's graph depends on beside the numbers of rows.
 * @param windows of the model's layers
 */
export function attentionKey(runs: readonly AttendingRun[], windows: readonly (number | null)[]): string {
  const first = windows.map((window) => runs.map((run) => firstCell(run, window)).join())
  return `${blockOf(runs)}:${runs.map(({ slot }) => (slot.transposed ? slot.capacity : 0)).join()}:${first.join()}`
}

/** What queries of all runs, or only the wanted ones, share in the layers with the same window and heads. */
interface Queries {
  readonly counts: readonly number[]
  readonly padded: number
  /** By window, per run f16 or f32 [cells, queries]; null where it has no query. */
  readonly masks: Map<number | null, readonly (Tensor | null)[]>
  /** By width f32 [headDim * heads, queries]: where the results of several runs are laid side by side, with room for filling rows. */
  readonly joined: Map<number, Tensor>
}

/** How a layer turns queries and keys into scores. */
type Scoring = Omit<Scores, 'maxBias'>

/** The attention of a stretch's graph: writes keys and values into the cache where they are not, and attends run by run. */
export class Attention {
  private readonly keyCells: Tensor
  /** By width of a value, for blocks that are not whole rows. */
  private readonly valueBlocks = new Map<number, Tensor>()
  private readonly block: number | 'rows'
  private readonly all: Queries
  private readonly wanted: Queries | null
  private readonly total: number

  constructor(
    private readonly g: Graph,
    private readonly h: Hyperparameters,
    private readonly cache: KvCache,
    private readonly runs: readonly AttendingRun[],
    private readonly shape: { readonly narrowed: boolean; readonly cached: boolean },
    /** Rows that come in, and those of them that queries are wanted of, filled up with rows that do not attend. */
    padded: { readonly rows: number; readonly wanted: number },
  ) {
    this.total = runs.reduce((n, r) => n + r.source.length, 0)
    this.keyCells = g.input('i32', this.total)
    this.block = blockOf(runs)
    this.all = this.queries((r) => r.source.length, padded.rows)
    this.wanted = shape.narrowed ? this.queries((r) => r.wanted, padded.wanted) : null
  }

  /**
   * @param q f32 [headDim, heads, queries] @param k, v f32 [headDim, kvHeads, rows], with the filling rows
   * @param narrow true where q has only the wanted rows
   * @returns f32 [headDim * heads, queries]
   */
  attend(layer: number, q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions, narrow: boolean): Tensor {
    const { g, h, cache, runs } = this
    const facts = h.layer[layer] as LayerFacts
    const keys = cache.keys(layer)
    const values = cache.values(layer)
    if (!this.shape.cached) this.write(keys, values, k, v)
    const queries = narrow && this.wanted ? this.wanted : this.all
    const masks = this.masksOf(queries, facts.window)
    const width = h.headDim * facts.heads
    const total = queries.counts.reduce((sum, n) => sum + n, 0)
    const joined = runs.length > 1 || queries.padded > total ? this.joinedOf(queries, width) : null
    let row = 0
    let result: Tensor | null = null
    runs.forEach((run, i) => {
      const mask = masks[i]
      const count = queries.counts[i] as number
      if (!mask) return
      const mine =
        joined === null
          ? q
          : g.view(q, [h.headDim, facts.heads, count], [q.strides[1], q.strides[2]], row * q.strides[2])
      const attended = this.attendRun(mine, keys, values, run, mask, facts, options)
      if (joined === null) result = attended
      else g.expand(g.copy(attended, g.view(joined, ...rowsOf(joined, row, count))))
      row += count
    })
    return (joined ?? result) as Tensor
  }

  /** Writes the inputs for rows of the shape that the graph was built for. */
  fill(runs: readonly AttendingRun[]): void {
    const { g } = this
    if (g.uses(this.keyCells)) this.fillCells(runs)
    for (const queries of [this.all, this.wanted]) {
      for (const [window, masks] of queries?.masks ?? []) {
        runs.forEach((run, i) => {
          const mask = masks[i]
          if (!mask || !g.uses(mask)) return
          const end = run.start + run.source.length - firstCell(run, window)
          fillMask(g.bytes(mask), mask, end, window, this.h.maxBias !== undefined)
        })
      }
    }
  }

  private fillCells(runs: readonly AttendingRun[]): void {
    const { g, total, block } = this
    const keyCells = new Int32Array(g.bytes(this.keyCells))
    const blocks = [...this.valueBlocks].map(([width, t]) => ({ width, cells: new Int32Array(g.bytes(t)) }))
    let row = 0
    for (const { slot, start, source } of runs) {
      for (let j = 0; j < source.length; j++) {
        keyCells[row + j] = slot.base + start + j
        if (block === 'rows' || j % block !== 0) continue
        for (const { width, cells } of blocks) {
          for (let i = 0; i < width; i++) {
            cells[(i * total + row + j) / block] = valueIndex(slot, width, start + j, i) / block
          }
        }
      }
      row += source.length
    }
  }

  private write(keys: Tensor, values: Tensor, k: Tensor, v: Tensor): void {
    const { g, total, block } = this
    const [width] = keys.shape
    const given = (t: Tensor) => {
      const rows = g.reshape(t, width, t.elements / width)
      return rows.shape[1] === total ? rows : g.view(rows, ...rowsOf(rows, 0, total))
    }
    g.expand(g.setRows(keys, given(k), this.keyCells))
    const rows = given(v)
    if (block === 'rows') {
      g.expand(g.setRows(values, rows, this.keyCells))
      return
    }
    const count = (width * total) / block
    const cells = this.valueBlocks.get(width) ?? g.input('i32', count)
    this.valueBlocks.set(width, cells)
    const blocks = g.reshape(total === 1 ? rows : g.transpose(rows), block, count)
    g.expand(g.setRows(g.reshape(values, block, values.elements / block), blocks, cells))
  }

  private queries(count: (run: AttendingRun) => number, padded: number): Queries {
    return { counts: this.runs.map(count), padded, masks: new Map(), joined: new Map() }
  }

  private masksOf({ counts, masks }: Queries, window: number | null): readonly (Tensor | null)[] {
    const { g, h, runs } = this
    const known = masks.get(window)
    if (known !== undefined) return known
    const made = runs.map((run, i) => {
      const cells = cellsOf(run) - firstCell(run, window)
      const type = h.maxBias !== undefined && cells > MOST_F16_CELLS ? 'f32' : 'f16'
      return counts[i] === 0 ? null : g.input(type, cells, counts[i] as number)
    })
    masks.set(window, made)
    return made
  }

  private joinedOf({ joined, padded }: Queries, width: number): Tensor {
    const made = joined.get(width) ?? this.g.input('f32', width, padded)
    joined.set(width, made)
    return made
  }

  /** softmax(scale q k^T + slope mask) v: q [headDim, heads, queries] -> [headDim * heads, queries]. */
  private attendRun(
    q: Tensor,
    keys: Tensor,
    values: Tensor,
    run: AttendingRun,
    mask: Tensor,
    { heads, kvHeads, window }: LayerFacts,
    scoring: Scoring,
  ): Tensor {
    const { g, h } = this
    const { slot } = run
    const first = firstCell(run, window)
    const [cells, queries] = mask.shape
    const width = h.headDim * heads
    const [element, line] = values.strides
    const scores: Scores = { ...scoring, maxBias: h.maxBias }
    const rows = (t: Tensor) =>
      g.view(t, [h.headDim, cells, kvHeads], [line, line / kvHeads], (slot.base + first) * line)
    const k = rows(keys)
    if (!slot.transposed) {
      return g.reshape(g.flashAttention(g.swapRows(q), k, rows(values), mask, scores), width, queries)
    }
    const column = slot.capacity * element
    const v = g.view(
      values,
      [cells, h.headDim, kvHeads],
      [column, column * h.headDim],
      slot.base * line + first * element,
    )
    // The tiled kernel wants its mask in half precision.
    if (mask.type === 'f16' && !few(queries, cells)) {
      return g.reshape(g.flashAttention(g.swapRows(q), k, g.transpose(v), mask, scores), width, queries)
    }
    const grouped = (queries * heads) / kvHeads
    const byHead = g.reshape(queries === 1 ? q : g.contiguous(g.swapRows(q)), h.headDim, grouped, kvHeads)
    const products = g.reshape(g.mulMat(k, byHead), cells, queries, heads)
    const shares = g.reshape(this.softMax(products, mask, scores), cells, grouped, kvHeads)
    const attended = g.mulMat(v, shares)
    if (queries === 1) return g.reshape(attended, width, 1)
    return g.reshape(g.contiguous(g.swapRows(g.reshape(attended, h.headDim, queries, heads))), width, queries)
  }

  private softMax(products: Tensor, mask: Tensor, { scale, maxBias = 0, softcap, sinks = null }: Scores): Tensor {
    const { g } = this
    if (softcap === undefined) return g.maskedSoftMax(products, mask, scale, maxBias, sinks)
    const capped = g.scale(g.tanh(g.scale(products, scale / softcap)), softcap)
    return g.maskedSoftMax(capped, mask, 1, maxBias, sinks)
  }
}

/** Shape, strides and offset of a view of some rows of a [width, rows] tensor. */
function rowsOf(t: Tensor, first: number, count: number): [[number, number, number], [number, number], number] {
  return [[t.shape[0], count, 1], [t.strides[1], t.bytes], first * t.strides[1]]
}

/**
 * The last row sees positions 0 .. end - 1, or the last `window` of them, the row before it one less, and so on. What it
 * sees is 0, or with `distances` the key's position minus the query's, which ALiBi's slopes are multiplied with.
 */
function fillMask(
  memory: ArrayBuffer,
  { type, shape }: Tensor,
  end: number,
  window: number | null,
  distances: boolean,
): void {
  const half = type === 'f16'
  const values = half ? new Uint16Array(memory) : new Float32Array(memory)
  const [cells, rows] = shape
  const falling = half ? F16_DISTANCES : Float32Array.from({ length: cells }, (_, i) => i + 1 - cells)
  const hidden = half ? NEGATIVE_INFINITY_F16 : Number.NEGATIVE_INFINITY
  for (let j = 0; j < rows; j++) {
    const seen = end - rows + j + 1
    const row = j * cells
    if (distances) values.set(falling.subarray(falling.length - seen), row)
    else values.fill(0, row, row + seen)
    values.fill(hidden, row + seen, row + cells)
    if (window !== null && seen > window) values.fill(hidden, row, row + seen - window)
  }
}
