import { createTopTwo, sumExp, topTwo } from '../depth/features.js'
import { InputError } from '../errors.js'

/**
 * How an answer is judged. `token`: the argmax over the whole vocabulary is the first token of a gold answer (AdaInfer).
 * `labels`: the argmax among the first tokens of the labels. `likelihood`: the candidate with the largest sum of
 * log-probabilities. `generate`: the generated text.
 */
export const SCORE_MODES = ['token', 'labels', 'likelihood', 'generate'] as const

export type ScoreMode = (typeof SCORE_MODES)[number]

interface Placed {
  readonly text: string
  readonly ids: readonly number[]
}

/** True where `top` is the first token of one of the gold answers. */
export function isGoldToken(top: number, golds: readonly (readonly number[])[]): boolean {
  return golds.some((gold) => gold[0] === top)
}

/**
 * The first token of every label.
 * @throws InputError where two labels share one: the first token then cannot tell them apart
 */
export function labelTokens(labels: readonly Placed[]): number[] {
  const seen = new Map<number, string>()
  return labels.map(({ text, ids }) => {
    const first = ids[0] as number
    const other = seen.get(first)
    if (other !== undefined) {
      throw new InputError(
        `labels ${JSON.stringify(other)} and ${JSON.stringify(text)} begin with the same token (${first}); use likelihood`,
      )
    }
    seen.set(first, text)
    return first
  })
}

/** Which of `tokens` has the largest logit; the first of those that tie, -1 where all are NaN. */
export function pickLabel(logits: Float32Array, tokens: readonly number[]): number {
  let best = -1
  tokens.forEach((token, i) => {
    const value = logits[token] as number
    if (!Number.isNaN(value) && (best < 0 || value > (logits[tokens[best] as number] as number))) best = i
  })
  return best
}

/** log softmax(logits)[id], in nats. */
export function logProbability(logits: Float32Array, id: number): number {
  const { topValue } = topTwo(logits, createTopTwo())
  return (logits[id] as number) - topValue - Math.log(sumExp(logits, topValue))
}

/**
 * Sum of log-probabilities of `ids` [n], in nats.
 * @param logitsOf logits [V] that predict the i-th of them
 */
export function logLikelihood(ids: readonly number[], logitsOf: (i: number) => Float32Array): number {
  return ids.reduce((sum, id, i) => sum + logProbability(logitsOf(i), id), 0)
}
