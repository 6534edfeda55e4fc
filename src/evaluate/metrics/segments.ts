import { InputError } from '../../errors.js'

/**
 * Segments of a text, one per line. Only "\n" ends a line: "\r" and the other line separators of Unicode stand in
 * translations and summaries too. Empty lines are segments; a "\n" at the very end adds none.
 */
export function splitSegments(text: string): string[] {
  const lines = text.split('\n')
  if (lines.at(-1) === '') lines.pop()
  return lines
}

/**
 * What a metric counts in each pair of hypothesis and reference.
 * @throws InputError where the two are not as many, or none
 */
export function mapPairs<T>(
  hypotheses: readonly string[],
  references: readonly string[],
  count: (hypothesis: string, reference: string) => T,
): T[] {
  if (hypotheses.length !== references.length) {
    throw new InputError(
      `hypotheses and references must be as many, not ${hypotheses.length} and ${references.length} segments`,
    )
  }
  if (hypotheses.length === 0) throw new InputError('there are no segments to score')
  return hypotheses.map((hypothesis, i) => count(hypothesis, references[i]!))
}

/** Entry by entry sum of arrays of one length. Metrics of a corpus, or of a bootstrap's draw, come from such sums. */
export function sumStatistics(segments: readonly (readonly number[])[]): number[] {
  const sum = Array.from<number>({ length: segments[0]?.length ?? 0 }).fill(0)
  for (const segment of segments) for (const [i, value] of segment.entries()) sum[i]! += value
  return sum
}
