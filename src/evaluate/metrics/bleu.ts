import { ngramCount, ngramMatches } from './ngrams.js'
import { mapPairs, sumStatistics } from './segments.js'
import { type BleuTokenizer, tokenizeForBleu } from './tokenize.js'

export interface Bleu {
  /** 0 to 100. */
  readonly score: number
  /** Of 1- to 4-grams, 0 to 100, smoothed where nothing matches. */
  readonly precisions: readonly number[]
  /** exp(1 - reference length / hypothesis length) where the hypotheses are shorter, otherwise 1. */
  readonly brevityPenalty: number
  /** Tokens. */
  readonly hypothesisLength: number
  readonly referenceLength: number
}

export interface BleuOptions {
  /** Default `13a`. */
  readonly tokenize?: BleuTokenizer
}

const ORDERS = 4

/**
 * BLEU of a corpus with one reference per segment (Papineni et al. 2002), as sacrebleu (Post 2018) reports it by default:
 * case counts, and orders without a match are smoothed (`exp`: method 3 of Chen and Cherry 2014).
 * @throws InputError where hypotheses and references are not as many, or none, or the tokenizer is unknown
 */
export function corpusBleu(
  hypotheses: readonly string[],
  references: readonly string[],
  options: BleuOptions = {},
): Bleu {
  const segments = mapPairs(hypotheses, references, (hypothesis, reference) =>
    bleuStatistics(hypothesis, reference, options),
  )
  return bleuOfStatistics(sumStatistics(segments))
}

/** BLEU of one segment: the mean is over the orders that it is long enough for (sacrebleu's effective order). */
export function sentenceBleu(hypothesis: string, reference: string, options: BleuOptions = {}): Bleu {
  return bleuOfStatistics(bleuStatistics(hypothesis, reference, options), { effectiveOrder: true })
}

/** What BLEU counts in a segment, 10 integers: tokens of both, matches of 1- to 4-grams, 1- to 4-grams of the hypothesis. */
export function bleuStatistics(hypothesis: string, reference: string, options: BleuOptions = {}): number[] {
  const { tokenize = '13a' } = options
  const given = tokenizeForBleu(hypothesis, tokenize)
  const wanted = tokenizeForBleu(reference, tokenize)
  const totals = Array.from({ length: ORDERS }, (_, i) => ngramCount(given.length, i + 1))
  return [given.length, wanted.length, ...ngramMatches(given, wanted, ORDERS), ...totals]
}

/** BLEU of the sum of segments' {@link bleuStatistics}. */
export function bleuOfStatistics(statistics: readonly number[], options: { effectiveOrder?: boolean } = {}): Bleu {
  const [hypothesisLength = 0, referenceLength = 0] = statistics
  const matches = statistics.slice(2, 2 + ORDERS)
  const totals = statistics.slice(2 + ORDERS)
  const shares = smoothedShares(matches, totals)
  const orders = options.effectiveOrder ? Math.max(1, totals.filter((total) => total > 0).length) : ORDERS
  const brevityPenalty = brevity(hypothesisLength, referenceLength)
  // A share of 0 has the logarithm -Infinity, and the score is 0.
  const meanLog = shares.slice(0, orders).reduce((sum, share) => sum + Math.log(share), 0) / orders
  return {
    score: 100 * brevityPenalty * Math.exp(meanLog),
    precisions: shares.map((share) => 100 * share),
    brevityPenalty,
    hypothesisLength,
    referenceLength,
  }
}

/** The first order without a match counts half a match, the next a quarter, and so on; all are 0 where nothing matches. */
function smoothedShares(matches: readonly number[], totals: readonly number[]): number[] {
  if (matches.every((match) => match === 0)) return matches.map(() => 0)
  let smallest = 1
  return matches.map((match, i) => {
    const total = totals[i]!
    if (total === 0) return 0
    if (match === 0) smallest /= 2
    return (match === 0 ? smallest : match) / total
  })
}

function brevity(hypothesisLength: number, referenceLength: number): number {
  if (hypothesisLength >= referenceLength) return 1
  return hypothesisLength === 0 ? 0 : Math.exp(1 - referenceLength / hypothesisLength)
}
