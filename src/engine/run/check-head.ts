import type { Weights } from '../../families/family.js'
import { making } from '../../ggml/making.js'
import type { StoredTensor } from '../../ggml/store.js'
import type { LoadedBridge } from './bridges/bridge-weights.js'
import { Head, type HeadParts, headKey } from './head.js'

export interface HeadWeights extends Weights {
  /** A copy of some rows of a matrix, in the matrix's own type and in plain memory: [columns, rows]. */
  pickRows(name: string, rows: readonly number[]): StoredTensor
  /** A copy of some values of a vector: [values]. */
  pickValues(name: string, places: readonly number[]): StoredTensor
}

const BIAS = 'output.bias'

export interface CheckHeadParts extends HeadParts {
  readonly weights: HeadWeights
}

/** The LM head cut down to a few tokens, so that a check costs little where the vocabulary is large. */
export class CheckHead {
  /** Ids of the tokens, in the order of the rows. */
  readonly tokens: readonly number[]
  private readonly parts: HeadParts
  private readonly matrix: StoredTensor
  private readonly bias: StoredTensor | null
  private readonly heads = new Map<string, Head>()

  constructor(parts: CheckHeadParts, tokens: readonly number[]) {
    const { family, hyperparameters, weights } = parts
    const name = family.headMatrix(hyperparameters)
    const matrix = weights.pickRows(name, tokens)
    this.tokens = tokens
    this.matrix = matrix
    const bias = weights.optional(BIAS) === null ? null : weights.pickValues(BIAS, tokens)
    this.bias = bias
    const picked = (n: string) => (n === name ? matrix.tensor : n === BIAS && bias !== null ? bias.tensor : null)
    this.parts = {
      ...parts,
      // In plain memory every row costs the same.
      padding: (rows) => rows,
      weights: {
        get: (n) => picked(n) ?? weights.get(n),
        optional: (n) => picked(n) ?? weights.optional(n),
        rows: (n) => weights.rows(n),
      },
    }
  }

  /** The head for `count` hidden rows, through a lens where there is one. */
  of(count: number, lens: LoadedBridge | null): Head {
    const key = headKey(count, lens)
    let head = this.heads.get(key)
    if (head === undefined) {
      head = making(() => new Head(this.parts, count, lens))
      this.heads.set(key, head)
    }
    return head
  }

  get memory(): number {
    return this.matrix.tensor.bytes
  }

  dispose(): void {
    for (const head of this.heads.values()) head.dispose()
    this.heads.clear()
    this.matrix.dispose()
    this.bias?.dispose()
  }
}
