/** True where a generated answer is one of the gold answers, spaces at its ends aside. */
export function exactMatch(text: string, golds: readonly string[]): boolean {
  return golds.some((gold) => gold.trim() === text.trim())
}

/** Exact match of SQuAD 1.1's official script: normalised texts are equal, for the best of the gold answers. */
export function squadExactMatch(text: string, golds: readonly string[]): number {
  const answer = normalizeSquad(text)
  return golds.some((gold) => normalizeSquad(gold) === answer) ? 1 : 0
}

/** F1 of SQuAD 1.1's official script: overlap of the words of normalised texts, for the best of the gold answers. */
export function squadF1(text: string, golds: readonly string[]): number {
  return golds.reduce((best, gold) => Math.max(best, wordF1(text, gold)), 0)
}

// string.punctuation of Python.
const PUNCTUATION = /[!"#$%&'()*+,\-./:;<=>?@[\\\]^_`{|}~]/g
// Word borders as Python has them: letters beyond ASCII are letters too.
const ARTICLES = /(?<![\p{L}\p{N}_])(a|an|the)(?![\p{L}\p{N}_])/gu

/** Lower case, without punctuation and articles, single spaces. */
export function normalizeSquad(text: string): string {
  return text.toLowerCase().replace(PUNCTUATION, '').replace(ARTICLES, ' ').trim().split(/\s+/).join(' ')
}

function wordF1(text: string, gold: string): number {
  const words = (s: string) =>
    normalizeSquad(s)
      .split(' ')
      .filter((word) => word !== '')
  const given = words(text)
  const wanted = words(gold)
  const left = new Map<string, number>()
  for (const word of wanted) left.set(word, (left.get(word) ?? 0) + 1)
  let same = 0
  for (const word of given) {
    const count = left.get(word) ?? 0
    if (count > 0) same++
    left.set(word, count - 1)
  }
  if (same === 0) return 0
  const [precision, recall] = [same / given.length, same / wanted.length]
  return (2 * precision * recall) / (precision + recall)
}
