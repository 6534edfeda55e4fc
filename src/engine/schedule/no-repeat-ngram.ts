/**
 * The ids that would end an n-gram which stands in `tokens` already. transformers' `no_repeat_ngram_size`, after Paulus,
 * Xiong and Socher, "A Deep Reinforced Model for Abstractive Summarization", arXiv 1705.04304, section 2.5.
 * @param n tokens of an n-gram; 0 forbids nothing
 */
export function repeatingIds(tokens: readonly number[], n: number): ReadonlySet<number> {
  const ids = new Set<number>()
  if (n === 0) return ids
  const tail = tokens.length - (n - 1)
  for (let start = 0; start + n <= tokens.length; start++) {
    let same = 0
    while (same < n - 1 && tokens[start + same] === tokens[tail + same]) same++
    if (same === n - 1) ids.add(tokens[start + n - 1] as number)
  }
  return ids
}
