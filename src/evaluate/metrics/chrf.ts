import { InputError } from '../../errors.js'
import { ngramCount, ngramMatches } from './ngrams.js'
import { mapPairs, sumStatistics } from './segments.js'
import { splitWords } from './tokenize.js'

export interface ChrfOptions {
  /** Longest n-grams of words: 0, the default, is chrF, 2 is chrF++. */
  readonly wordOrder?: number
}

const CHARACTER_ORDER = 6
/** How much more recall weighs than precision. */
const BETA = 2
/** Python's string.punctuation. */
const PUNCTUATION = /^[!-/:-@[-`{-~]$/u

/**
 * chrF2 of a corpus (Popović 2015), 0 to 100, or chrF++ (Popović 2017), as sacrebleu reports them: n-grams of 1 to 6
 * characters without white space, precision and recall averaged over the orders that both sides have.
 * @throws InputError where hypotheses and references are not as many, or none, or the word order is no whole number
 */
export function corpusChrf(
  hypotheses: readonly string[],
  references: readonly string[],
  options: ChrfOptions = {},
): number {
  const segments = mapPairs(hypotheses, references, (hypothesis, reference) =>
    chrfStatistics(hypothesis, reference, options),
  )
  return chrfOfStatistics(sumStatistics(segments))
}

/**
 * What chrF counts in a segment, three integers for each order, those of characters first: n-grams of the hypothesis
 * (0 where the reference has none of that length), n-grams of the reference, matches.
 */
export function chrfStatistics(hypothesis: string, reference: string, options: ChrfOptions = {}): number[] {
  const { wordOrder = 0 } = options
  if (!Number.isInteger(wordOrder) || wordOrder < 0) {
    throw new InputError(`the word order must be a whole number of at least 0, not ${wordOrder}`)
  }
  return [
    ...countOrders(characters(hypothesis), characters(reference), CHARACTER_ORDER),
    ...(wordOrder === 0 ? [] : countOrders(words(hypothesis), words(reference), wordOrder)),
  ]
}

/** chrF, 0 to 100, of the sum of segments' {@link chrfStatistics}. */
export function chrfOfStatistics(statistics: readonly number[]): number {
  let precision = 0
  let recall = 0
  let orders = 0
  for (let i = 0; i < statistics.length; i += 3) {
    const [given, wanted, matches] = [statistics[i]!, statistics[i + 1]!, statistics[i + 2]!]
    if (given === 0 || wanted === 0) continue
    precision += matches / given
    recall += matches / wanted
    orders++
  }
  if (precision + recall === 0) return 0
  precision /= orders
  recall /= orders
  return (100 * (1 + BETA ** 2) * precision * recall) / (BETA ** 2 * precision + recall)
}

function countOrders(given: readonly string[], wanted: readonly string[], orders: number): number[] {
  return ngramMatches(given, wanted, orders).flatMap((matches, i) => {
    const inReference = ngramCount(wanted.length, i + 1)
    return [inReference === 0 ? 0 : ngramCount(given.length, i + 1), inReference, matches]
  })
}

/** Code points. */
function characters(text: string): string[] {
  return Array.from(splitWords(text).join(''))
}

/** Words with one punctuation mark taken off: the last character, or else the first. */
function words(text: string): string[] {
  return splitWords(text).flatMap((word) => {
    const points = Array.from(word)
    if (points.length === 1) return [word]
    if (PUNCTUATION.test(points.at(-1)!)) return [word.slice(0, -1), word.slice(-1)]
    if (PUNCTUATION.test(points[0]!)) return [word.slice(0, 1), word.slice(1)]
    return [word]
  })
}
