/** One beam's next token: log-probabilities [V] as logits less their log-sum-exp. */
export interface BeamRow {
  /** Sum of the log-probabilities of the beam's new tokens. */
  readonly sum: number
  readonly logits: Float32Array
  readonly logSumExp: number
  /** Ids that must not come next. */
  readonly forbidden: ReadonlySet<number>
}

/** A beam and a token behind it. */
export interface Continuation {
  /** Which row, from 0. */
  readonly parent: number
  readonly id: number
  readonly logprob: number
  readonly sum: number
}

/** The continuations of all rows with the largest sums, best first; of equals those of the lower row and id. */
export function bestContinuations(rows: readonly BeamRow[], count: number): Continuation[] {
  const best: Continuation[] = []
  let floor = Number.NEGATIVE_INFINITY
  rows.forEach(({ sum: before, logits, logSumExp, forbidden }, parent) => {
    for (let id = 0; id < logits.length; id++) {
      const logprob = (logits[id] as number) - logSumExp
      const sum = before + logprob
      if (!(sum > floor) || forbidden.has(id)) continue
      let at = best.length
      while (at > 0 && (best[at - 1] as Continuation).sum < sum) at--
      best.splice(at, 0, { parent, id, logprob, sum })
      if (best.length > count) best.pop()
      if (best.length === count) floor = (best[count - 1] as Continuation).sum
    }
  })
  return best
}

/** The score of a text: the sum of its log-probabilities over its length to the power of the penalty. */
export function beamScore(sum: number, length: number, lengthPenalty: number): number {
  return sum / length ** lengthPenalty
}

/** The best texts that have ended, at most `most` of them, best first; of equals the one that ended first. */
export class EndedBeams<Text> {
  readonly all: { readonly text: Text; readonly score: number }[] = []

  constructor(private readonly most: number) {}

  add(text: Text, score: number): void {
    let at = this.all.length
    while (at > 0 && (this.all[at - 1] as { score: number }).score < score) at--
    this.all.splice(at, 0, { text, score })
    if (this.all.length > this.most) this.all.pop()
  }

  /** True where a text of this score would still find a place. */
  takes(score: number): boolean {
    return this.all.length < this.most || score > (this.all[this.most - 1] as { score: number }).score
  }
}
