import type { Distribution } from './sampler.js'

/** What becomes of a drafted token. */
export interface Verdict {
  readonly accepted: boolean
  /** The token that stands: the drafted one, or the one drawn in its place. */
  readonly id: number
}

/**
 * Decides on one drafted token, given what it was drawn from (`q`) and what the model would have drawn from (`p`), both
 * after all filters.
 */
export type AcceptRule = (
  drafted: number,
  q: Distribution,
  p: Distribution,
  random: () => number,
  draw: (distribution: Distribution) => number,
) => Verdict

/**
 * Speculative rejection sampling (Leviathan et al. 2023, section 2.3; LayerSkip, arXiv 2404.16710): the drafted token
 * stands with probability min(1, p / q), else one is drawn from the normalised positive part of p - q. The token that
 * stands has the law p. Distributions of one token each, as at temperature 0, make it a comparison.
 */
export const acceptDraft: AcceptRule = (drafted, q, p, random, draw) => {
  const wanted = probabilityOf(p, drafted)
  const given = probabilityOf(q, drafted)
  if (wanted >= given) return { accepted: true, id: drafted }
  if (wanted > 0 && random() < wanted / given) return { accepted: true, id: drafted }
  return { accepted: false, id: draw(residual(p, q)) }
}

/** max(p - q, 0), normalised. */
export function residual(p: Distribution, q: Distribution): Distribution {
  const ids: number[] = []
  const weights: number[] = []
  let j = 0
  let sum = 0
  for (let i = 0; i < p.ids.length; i++) {
    const id = p.ids[i]!
    while (j < q.ids.length && q.ids[j]! < id) j++
    const weight = p.probabilities[i]! - (q.ids[j] === id ? q.probabilities[j]! : 0)
    if (weight <= 0) continue
    ids.push(id)
    weights.push(weight)
    sum += weight
  }
  // Rounding can leave nothing of two distributions that are equal; then either is right.
  if (sum === 0) return p
  return { ids: Int32Array.from(ids), probabilities: Float64Array.from(weights, (weight) => weight / sum) }
}

/** Ids are ascending. */
function probabilityOf({ ids, probabilities }: Distribution, id: number): number {
  let low = 0
  let high = ids.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (ids[middle]! < id) low = middle + 1
    else high = middle
  }
  return ids[low] === id ? probabilities[low]! : 0
}
