import { ngramCount, ngramMatches } from './ngrams.js'
import { mapPairs } from './segments.js'

/** Shares of n-grams or of a common subsequence, 0 to 1. */
export interface RougeScore {
  /** Of the hypothesis. */
  readonly precision: number
  /** Of the reference. */
  readonly recall: number
  /** Harmonic mean of both; 0 where both are 0. */
  readonly f1: number
}

export interface Rouge {
  readonly rouge1: RougeScore
  readonly rouge2: RougeScore
  /** By the longest common subsequence of the whole segments. */
  readonly rougeL: RougeScore
}

/**
 * ROUGE-1, 2 and L of a corpus (Lin 2004): means over the pairs. Tokens are runs of a-z and 0-9 of the lower-cased text,
 * without a stemmer.
 * @throws InputError where hypotheses and references are not as many, or none
 */
export function corpusRouge(hypotheses: readonly string[], references: readonly string[]): Rouge {
  return meanRouge(mapPairs(hypotheses, references, pairRouge))
}

/** ROUGE of one pair. */
export function pairRouge(hypothesis: string, reference: string): Rouge {
  const given = tokens(hypothesis)
  const wanted = tokens(reference)
  const matches = ngramMatches(given, wanted, 2)
  const ngrams = (n: number): RougeScore =>
    score(matches[n - 1]!, ngramCount(given.length, n), ngramCount(wanted.length, n))
  return {
    rouge1: ngrams(1),
    rouge2: ngrams(2),
    rougeL: score(longestCommonSubsequence(given, wanted), given.length, wanted.length),
  }
}

/** Means of every figure, f1 too, over pairs; one pair at the least. */
export function meanRouge(pairs: readonly Rouge[]): Rouge {
  const mean = (kind: keyof Rouge): RougeScore => {
    const of = (figure: keyof RougeScore): number =>
      pairs.reduce((sum, pair) => sum + pair[kind][figure], 0) / pairs.length
    return { precision: of('precision'), recall: of('recall'), f1: of('f1') }
  }
  return { rouge1: mean('rouge1'), rouge2: mean('rouge2'), rougeL: mean('rougeL') }
}

function score(matches: number, given: number, wanted: number): RougeScore {
  if (matches === 0) return { precision: 0, recall: 0, f1: 0 }
  return { precision: matches / given, recall: matches / wanted, f1: (2 * matches) / (given + wanted) }
}

function tokens(text: string): string[] {
  return text.toLowerCase().match(/[a-z0-9]+/g) ?? []
}

/** Length of the longest common subsequence, by rows of the usual table. */
function longestCommonSubsequence(a: readonly string[], b: readonly string[]): number {
  let before = new Int32Array(b.length + 1)
  let row = new Int32Array(b.length + 1)
  for (const token of a) {
    for (const [i, other] of b.entries()) {
      row[i + 1] = token === other ? before[i]! + 1 : Math.max(before[i + 1]!, row[i]!)
    }
    ;[before, row] = [row, before]
  }
  return before[b.length]!
}
