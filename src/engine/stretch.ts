import type { Family, Hyperparameters, Weights } from '../families/family.js'
import type { Backend } from '../ggml/backend.js'
import { Graph, type Tensor } from '../ggml/graph.js'
import type { HiddenRows, RowIndex } from './hidden-rows.js'
import type { KvCache, Slot } from './kv-cache.js'

/** A run of rows of one sequence: positions `start` .. `start + rows.length - 1`. */
export interface Run {
  readonly slot: Slot
  readonly start: number
  /** Token ids where the stretch starts from tokens, else hidden rows. */
  readonly source: readonly number[]
  /** Where the output goes: one hidden row per position, or per wanted position where the stretch is narrowed. */
  readonly target: readonly RowIndex[]
  /** How many of the last positions are wanted where the stretch is narrowed. */
  readonly wanted: number
}

export interface StretchShape {
  /** Layers in the order they run. */
  readonly layers: readonly number[]
  readonly from: 'tokens' | 'rows'
  /** True where the last layer computes only the wanted rows; the others still leave their keys and values. */
  readonly narrowed: boolean
  /** True where the last layer's attention and MLP outputs are kept for the wanted rows. */
  readonly sublayers: boolean
}

/** What a stretch's graph is built from. */
export interface StretchParts {
  readonly backend: Backend
  readonly family: Family
  readonly hyperparameters: Hyperparameters
  readonly weights: Weights
  readonly cache: KvCache
  readonly rows: HiddenRows
}

const NEGATIVE_INFINITY_F16 = 0xfc00

/** Everything that a stretch's graph depends on. Two steps of the same key run the same graph. */
export function stretchKey(shape: StretchShape, runs: readonly Run[]): string {
  let key = `${shape.layers.join()}${shape.from[0]}${shape.narrowed ? 'n' : ''}${shape.sublayers ? 's' : ''}`
  for (const r of runs) key += `|${r.slot.base}:${r.source.length}:${cellsOf(r)}:${r.wanted}`
  return key
}

/**
 * Cells that a run attends over: its last position, rounded up so that a graph serves many tokens; the cells beyond are
 * masked. Steps of 64 while that is cheap to rebuild, 256 beyond.
 */
function cellsOf(run: Run): number {
  const positions = run.start + run.source.length
  const step = positions <= 512 ? 64 : 256
  return Math.min(Math.ceil(positions / step) * step, run.slot.capacity)
}

/**
 * The graph of consecutive layers for given rows: takes them from tokens or hidden rows, leaves keys and values in the
 * cache, and writes the rows back. All rows share one pass over the weights; attention is per run, over its own cells.
 */
export class Stretch {
  private readonly graph: Graph
  private readonly source: Int32Array
  private readonly positions: Int32Array
  private readonly cells: Int32Array
  private readonly target: Int32Array
  private readonly narrowing: { rows: Int32Array; positions: Int32Array } | null
  private readonly masks: Mask[]
  private readonly narrowMasks: Mask[]
  private readonly sublayers: { attention: Float32Array; mlp: Float32Array } | null

  /** @param expectedMs what a run is expected to take; Infinity where unknown */
  constructor(parts: StretchParts, shape: StretchShape, runs: readonly Run[], expectedMs = Number.POSITIVE_INFINITY) {
    const { family, hyperparameters: h, weights, cache, rows } = parts
    const total = runs.reduce((n, r) => n + r.source.length, 0)
    const wanted = runs.reduce((n, r) => n + r.wanted, 0)
    const g = new Graph(parts.backend, 96 + shape.layers.length * (64 + 16 * runs.length))
    g.lastMs = expectedMs
    this.graph = g
    const source = g.input('i32', total)
    const positions = g.input('i32', total)
    const cells = g.input('i32', total)
    // Without layers tokens are embedded and no more.
    const masks = shape.layers.length > 0 ? runs.map((r) => maskInput(g, r, r.source.length)) : []
    const narrowing = shape.narrowed ? { rows: g.input('i32', wanted), positions: g.input('i32', wanted) } : null
    const narrowMasks = shape.narrowed ? runs.map((r) => (r.wanted > 0 ? maskInput(g, r, r.wanted) : null)) : []
    const target = g.input('i32', narrowing ? wanted : total)
    const joined = runs.length > 1 ? g.input('f32', h.headDim * h.heads, total) : null
    const narrowJoined = joined && narrowing ? g.input('f32', h.headDim * h.heads, wanted) : null

    let x = shape.from === 'tokens' ? family.embed(g, h, weights, source, positions) : g.getRows(rows.tensor, source)
    const kept: { attention?: Tensor; mlp?: Tensor } = {}
    const last = shape.layers.at(-1)
    for (const layer of shape.layers) {
      const narrow = layer === last ? narrowing : null
      const keys = cache.keys(layer)
      const values = cache.values(layer)
      x = family.layer(g, x, {
        hyperparameters: h,
        weights,
        layer,
        positions,
        queryPositions: narrow ? narrow.positions : positions,
        narrow: (t) => (narrow ? g.getRows(t, narrow.rows) : t),
        attend: (q, k, v, { scale }) => {
          g.expand(g.setRows(keys, g.reshape(k, h.headDim * h.kvHeads, total), cells))
          g.expand(g.setRows(values, g.reshape(v, h.headDim * h.kvHeads, total), cells))
          return attend(
            g,
            h,
            q,
            keys,
            values,
            scale,
            runs,
            narrow ? narrowMasks : masks,
            narrow ? narrowJoined : joined,
          )
        },
        sublayer: (which, output) => {
          if (shape.sublayers && layer === last) kept[which] = g.output(output)
        },
      })
    }
    g.expand(g.setRows(rows.tensor, x, target))
    g.allocate()

    // What the family does not use (positions where it has none in its layers) has no memory; writes to it go nowhere.
    const ints = (t: Tensor) => (g.uses(t) ? new Int32Array(g.bytes(t)) : new Int32Array(0))
    this.source = ints(source)
    this.positions = ints(positions)
    this.cells = ints(cells)
    this.target = ints(target)
    this.narrowing = narrowing ? { rows: ints(narrowing.rows), positions: ints(narrowing.positions) } : null
    this.masks = shape.narrowed && shape.layers.length === 1 ? [] : masks.map((t) => maskOf(g, t))
    this.narrowMasks = narrowMasks.flatMap((t) => (t ? [maskOf(g, t)] : []))
    this.sublayers = shape.sublayers
      ? {
          attention: new Float32Array(g.bytes(kept.attention as Tensor)),
          mlp: new Float32Array(g.bytes(kept.mlp as Tensor)),
        }
      : null
  }

  get memory(): number {
    return this.graph.memory
  }

  /** What the last run took, in ms. */
  get lastMs(): number {
    return this.graph.lastMs
  }

  /** Runs the layers for rows of the shape that the graph was built for. */
  run(runs: readonly Run[]): void | Promise<void> {
    let row = 0
    let out = 0
    let narrowMask = 0
    runs.forEach((r, i) => {
      const count = r.source.length
      for (let j = 0; j < count; j++) {
        this.source[row + j] = r.source[j] as number
        this.positions[row + j] = r.start + j
        this.cells[row + j] = r.slot.base + r.start + j
      }
      const mask = this.masks[i]
      if (mask) fillMask(mask, r.start)
      if (this.narrowing) {
        const first = count - r.wanted
        for (let j = 0; j < r.wanted; j++) {
          this.narrowing.rows[out + j] = row + first + j
          this.narrowing.positions[out + j] = r.start + first + j
        }
        if (r.wanted > 0) fillMask(this.narrowMasks[narrowMask++] as Mask, r.start + first)
      }
      for (let j = 0; j < r.target.length; j++) this.target[out + j] = r.target[j] as number
      out += r.target.length
      row += count
    })
    return this.graph.compute()
  }

  /** A copy of the last layer's attention and MLP output of one row, counted over all rows: [hidden] each. */
  sublayersOf(row: number): { attention: Float32Array; mlp: Float32Array } {
    if (this.sublayers === null) throw new Error('this stretch keeps no sublayer outputs')
    const { attention, mlp } = this.sublayers
    const width = mlp.length / this.target.length
    return {
      attention: attention.slice(row * width, (row + 1) * width),
      mlp: mlp.slice(row * width, (row + 1) * width),
    }
  }

  dispose(): void {
    this.graph.dispose()
  }
}

/** Attention of every run over its own cells; the results are laid side by side. */
function attend(
  g: Graph,
  h: Hyperparameters,
  q: Tensor,
  keys: Tensor,
  values: Tensor,
  scale: number,
  runs: readonly Run[],
  masks: readonly (Tensor | null)[],
  joined: Tensor | null,
): Tensor {
  const width = h.headDim * h.heads
  let row = 0
  let result: Tensor | null = null
  runs.forEach((run, i) => {
    const mask = masks[i]
    if (!mask) return
    const [cells, queries] = mask.shape
    const view = (t: Tensor) =>
      g.view(t, [h.headDim, cells, h.kvHeads], [t.strides[1], t.strides[1] / h.kvHeads], run.slot.base * t.strides[1])
    const mine =
      joined === null ? q : g.view(q, [h.headDim, h.heads, queries], [q.strides[1], q.strides[2]], row * q.strides[2])
    const attended = g.flashAttention(g.swapRows(mine), view(keys), view(values), mask, scale)
    if (joined === null) result = g.reshape(attended, width, queries)
    else {
      const place = g.view(joined, [width, queries, 1], [joined.strides[1], joined.bytes], row * joined.strides[1])
      g.expand(g.copy(g.reshape(attended, width, queries), place))
    }
    row += queries
  })
  return (joined ?? result) as Tensor
}

interface Mask {
  readonly values: Uint16Array
  readonly cells: number
  readonly rows: number
}

function maskInput(g: Graph, run: Run, rows: number): Tensor {
  return g.input('f16', cellsOf(run), rows)
}

function maskOf(g: Graph, t: Tensor): Mask {
  return { values: new Uint16Array(g.bytes(t)), cells: t.shape[0], rows: t.shape[1] }
}

/** Row j sees positions 0 .. start + j. */
function fillMask({ values, cells, rows }: Mask, start: number): void {
  for (let j = 0; j < rows; j++) {
    const seen = start + j + 1
    values.fill(0, j * cells, j * cells + seen)
    values.fill(NEGATIVE_INFINITY_F16, j * cells + seen, (j + 1) * cells)
  }
}
