import type { Family, Weights } from '../../families/family.js'
import type { Hyperparameters } from '../../families/hyperparameters.js'
import type { Backend } from '../../ggml/backend.js'
import { Graph, type Tensor } from '../../ggml/graph.js'
import { type HiddenRows, type RowIndex, UNREAD_ROW } from '../cache/hidden-rows.js'
import type { KvCache, Slot } from '../cache/kv-cache.js'
import type { Pass } from '../plan/pass.js'
import { Attention, attentionKey, cellsOf } from './attention.js'
import type { LoadedBridge } from './bridges/bridge-weights.js'
import type { RowPadding } from './row-padding.js'

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

/** The layers of a pass, without its rows. */
export interface StretchShape extends Pick<Pass, 'layers' | 'from' | 'narrowed' | 'cached' | 'sublayers'> {
  /** What follows a layer where layers above it are left out; -1 for the embedding. */
  readonly bridges: ReadonlyMap<number, LoadedBridge>
}

/** Tensors of a layer's graph beside those of its attention over runs: operations, inputs and views together. */
const LAYER_TENSORS = 96

/** Of a bridge: its products and sums. */
const BRIDGE_TENSORS = 8

/** The outputs of a token's experts are added up one by one. */
function expertTensors({ experts }: Hyperparameters): number {
  return experts === null ? 0 : 32 + 3 * experts.used
}

/** What a stretch's graph is built from. */
export interface StretchParts {
  readonly backend: Backend
  readonly family: Family
  readonly hyperparameters: Hyperparameters
  readonly weights: Weights
  readonly padding: RowPadding
  readonly cache: KvCache
  readonly rows: HiddenRows
}

/**
 * Everything that a stretch's graph depends on. Two steps of the same key run the same graph.
 * @param windows of the model's layers
 */
export function stretchKey(shape: StretchShape, runs: readonly Run[], windows: readonly (number | null)[]): string {
  let key = `${shape.layers.join()}${shape.from[0]}${shape.narrowed ? 'n' : ''}${shape.sublayers ? 's' : ''}${shape.cached ? 'c' : ''}${attentionKey(runs, windows)}`
  if (isPrompt(runs)) key += 'p'
  for (const [layer, { id }] of shape.bridges) key += `b${layer}:${id}`
  for (const r of runs) key += `|${r.slot.base}:${r.source.length}:${cellsOf(r)}:${r.wanted}`
  return key
}

/**
 * True for the beginning of one sequence, whose rows are not filled up: with as many rows as llama.cpp computes, kernels round
 * as they do there. Gemma 3 270M in q4_k: filled up, 1 of 8 texts went another way after a near tie.
 */
function isPrompt(runs: readonly Run[]): boolean {
  return runs.length === 1 && runs[0]?.start === 0
}

/**
 * The graph of consecutive layers for given rows: takes them from tokens or hidden rows, leaves keys and values in the
 * cache, and writes the rows back. All rows share one pass over the weights; attention is per run, over its own cells.
 */
export class Stretch {
  private readonly graph: Graph
  private readonly numbers = new Map<string, { tensor: Tensor; of: (position: number) => number; narrow: boolean }>()
  private readonly attention: Attention
  private readonly source: Int32Array
  private readonly positions: Int32Array
  private readonly target: Int32Array
  private readonly narrowing: { rows: Int32Array; positions: Int32Array } | null
  private readonly sublayers: { attention: Float32Array; mlp: Float32Array } | null

  /** @param expectedMs what a run is expected to take; Infinity where unknown */
  constructor(parts: StretchParts, shape: StretchShape, runs: readonly Run[], expectedMs = Number.POSITIVE_INFINITY) {
    const { family, hyperparameters: h, weights, cache, rows } = parts
    const fill = isPrompt(runs) ? (count: number) => count : parts.padding
    const total = fill(runs.reduce((n, r) => n + r.source.length, 0))
    const wanted = fill(runs.reduce((n, r) => n + r.wanted, 0))
    const layerTensors = LAYER_TENSORS + expertTensors(h) + 32 * runs.length
    const g = new Graph(parts.backend, 96 + shape.layers.length * layerTensors + shape.bridges.size * BRIDGE_TENSORS)
    g.lastMs = expectedMs
    this.graph = g
    const source = g.input('i32', total)
    const positions = g.input('i32', total)
    this.attention = new Attention(g, h, cache, runs, shape, { rows: total, wanted })
    const narrowing = shape.narrowed ? { rows: g.input('i32', wanted), positions: g.input('i32', wanted) } : null
    const target = g.input('i32', narrowing ? wanted : total)

    let x = shape.from === 'tokens' ? family.embed(g, h, weights, source, positions) : g.getRows(rows.tensor, source)
    const bridge = (layer: number, hidden: Tensor, mlp: Tensor | null): Tensor => {
      const over = shape.bridges.get(layer)
      if (over === undefined) return hidden
      if (over.bridge.on === 'hidden') return over.apply(g, hidden, hidden)
      return over.apply(g, hidden, mlp as Tensor, h.facts.residualScale)
    }
    if (shape.from === 'tokens') x = bridge(-1, x, null)
    const kept: { attention?: Tensor; mlp?: Tensor } = {}
    const last = shape.layers.at(-1)
    for (const layer of shape.layers) {
      const narrow = layer === last ? narrowing : null
      let mlp: Tensor | null = null
      x = family.layer(x, {
        g,
        h,
        weights,
        layer,
        positions,
        queryPositions: narrow ? narrow.positions : positions,
        narrow: (t) => (narrow ? g.getRows(t, narrow.rows) : t),
        perQuery: (name, of) => this.perQuery(name, of, narrow !== null, narrow ? wanted : total),
        attend: (q, k, v, options) => this.attention.attend(layer, q, k, v, options, narrow !== null),
        sublayer: (which, output) => {
          if (which === 'mlp') mlp = output
          if (shape.sublayers && layer === last) kept[which] = g.output(output)
        },
      })
      x = bridge(layer, x, mlp)
    }
    g.expand(g.setRows(rows.tensor, x, target))
    g.allocate()

    // What the family does not use (positions where it has none in its layers) has no memory; writes to it go nowhere.
    const ints = (t: Tensor) => (g.uses(t) ? new Int32Array(g.bytes(t)) : new Int32Array(0))
    this.source = ints(source)
    this.positions = ints(positions)
    this.target = ints(target)
    this.narrowing = narrowing ? { rows: ints(narrowing.rows), positions: ints(narrowing.positions) } : null
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
    this.attention.fill(runs)
    for (const r of runs) {
      const count = r.source.length
      for (let j = 0; j < count; j++) {
        this.source[row + j] = r.source[j] as number
        this.positions[row + j] = r.start + j
      }
      if (this.narrowing) {
        const first = count - r.wanted
        for (let j = 0; j < r.wanted; j++) {
          this.narrowing.rows[out + j] = row + first + j
          this.narrowing.positions[out + j] = r.start + first + j
        }
      }
      for (let j = 0; j < r.target.length; j++) this.target[out + j] = r.target[j] as number
      out += r.target.length
      row += count
    }
    // Rows that fill up are the unread one, go there, and stand at position 0. A graph may write over its inputs.
    this.source.fill(UNREAD_ROW, row)
    this.positions.fill(0, row)
    this.target.fill(UNREAD_ROW, out)
    this.narrowing?.rows.fill(0, out)
    this.narrowing?.positions.fill(0, out)
    this.fillNumbers()
    return this.graph.compute()
  }

  /** An input with a number for each query: one for all layers that ask under the same name. */
  private perQuery(name: string, of: (position: number) => number, narrow: boolean, queries: number): Tensor {
    const key = `${name} ${narrow ? 'narrow' : 'all'}`
    const known = this.numbers.get(key)
    if (known !== undefined) return known.tensor
    const tensor = this.graph.input('f32', 1, 1, queries)
    this.numbers.set(key, { tensor, of, narrow })
    return tensor
  }

  private fillNumbers(): void {
    for (const { tensor, of, narrow } of this.numbers.values()) {
      const positions = narrow && this.narrowing ? this.narrowing.positions : this.positions
      new Float32Array(this.graph.bytes(tensor)).set(Float32Array.from(positions, of))
    }
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
