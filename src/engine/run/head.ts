import type { Family, Weights } from '../../families/family.js'
import type { Hyperparameters } from '../../families/hyperparameters.js'
import type { Backend } from '../../ggml/backend.js'
import { Graph } from '../../ggml/graph.js'
import { type HiddenRows, type RowIndex, UNREAD_ROW } from '../cache/hidden-rows.js'
import type { LoadedBridge } from './bridges/bridge-weights.js'
import type { RowPadding } from './row-padding.js'

export interface HeadParts {
  readonly backend: Backend
  readonly family: Family
  readonly hyperparameters: Hyperparameters
  readonly weights: Weights
  readonly rows: HiddenRows
  readonly padding: RowPadding
}

/** Tells heads for so many rows and through different lenses apart. */
export function headKey(count: number, lens: LoadedBridge | null): string {
  return lens === null ? String(count) : `${count} ${lens.id}`
}

/** Final norm, LM head and softmax for a fixed number of hidden rows, over the V rows of the head's matrix. */
export class Head {
  private readonly graph: Graph
  private readonly source: Int32Array
  private readonly logits: Float32Array
  private readonly probabilities: Float32Array
  private readonly vocabulary: number

  /** @param lens what rows go through before the final norm */
  constructor(parts: HeadParts, count: number, lens: LoadedBridge | null) {
    const { family, hyperparameters: h, weights, rows } = parts
    const g = new Graph(parts.backend, 64)
    const padded = parts.padding(count)
    const source = g.input('i32', padded)
    const gathered = g.getRows(rows.tensor, source)
    const read = lens === null ? gathered : lens.apply(g, gathered, gathered)
    const all = g.output(family.head(g, h, weights, read))
    const [vocabulary] = all.shape
    const logits =
      padded === count ? all : g.output(g.view(all, [vocabulary, count, 1], [all.strides[1], all.bytes], 0))
    const probabilities = g.output(g.softMax(logits))
    g.allocate()
    this.graph = g
    this.vocabulary = vocabulary
    this.source = new Int32Array(g.bytes(source))
    this.logits = new Float32Array(g.bytes(logits))
    this.probabilities = new Float32Array(g.bytes(probabilities))
  }

  get memory(): number {
    return this.graph.memory
  }

  /** What the last run took, in ms. */
  get lastMs(): number {
    return this.graph.lastMs
  }

  run(rows: readonly RowIndex[]): void | Promise<void> {
    this.source.set(rows)
    this.source.fill(UNREAD_ROW, rows.length)
    return this.graph.compute()
  }

  /** Logits of the i-th row: [V]. Valid until the next run. */
  logitsOf(i: number): Float32Array {
    return this.logits.subarray(i * this.vocabulary, (i + 1) * this.vocabulary)
  }

  /** softmax(logits) of the i-th row: [V]. Valid until the next run. */
  probabilitiesOf(i: number): Float32Array {
    return this.probabilities.subarray(i * this.vocabulary, (i + 1) * this.vocabulary)
  }

  dispose(): void {
    this.graph.dispose()
  }
}
