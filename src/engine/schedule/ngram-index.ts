/** What stood before the last time that the newest tokens of a text occurred in it. */
export interface NgramMatch {
  /** Position of the token that followed there. */
  readonly next: number
  /** How many tokens before `next` and at the end of the text are the same, counted up to MOST_COUNTED. */
  readonly length: number
}

export interface NgramOptions {
  /** The n-gram that is looked for first; where it never occurred, a shorter one is. */
  readonly longest?: number
  readonly shortest?: number
}

/** Tokens of a match that are counted at most. */
export const MOST_COUNTED = 32
/** Ids are smaller; node · ID_SPACE + id is a whole number that a double holds. */
const ID_SPACE = 2 ** 24

/**
 * The n-grams of a text that grows, each with the position of its newest occurrence: what prompt lookup drafts from (Saxena
 * 2023, github.com/apoorvumang/prompt-lookup-decoding; `ngram` in vLLM, lookup decoding in llama.cpp). They are a trie, so
 * that a token costs one step for each n however long the text is.
 */
export class NgramIndex {
  private readonly ids: number[] = []
  private readonly longest: number
  private readonly shortest: number
  /** (node of the n-gram without its last id, that id) to the n-gram's own node; 0 is the root. */
  private readonly nodes = new Map<number, number>()
  /** By node: where its newest occurrence ends. */
  private readonly ends: number[] = [-1]
  /** Nodes of the n-grams that end with the text, n = 1 first. */
  private suffixes: number[] = []
  /** Where the same n-gram ended before, and its n. */
  private found: { readonly end: number; readonly n: number } | null = null

  constructor({ longest = 4, shortest = 2 }: NgramOptions = {}) {
    this.longest = longest
    this.shortest = shortest
  }

  push(id: number): void {
    const position = this.ids.push(id) - 1
    const suffixes: number[] = []
    this.found = null
    for (let n = 1; n <= Math.min(this.longest, position + 1); n++) {
      const parent = n === 1 ? 0 : (this.suffixes[n - 2] as number)
      const key = parent * ID_SPACE + id
      const known = this.nodes.get(key)
      const node = known ?? this.ends.length
      if (known === undefined) this.nodes.set(key, node)
      else if (n >= this.shortest) this.found = { end: this.ends[known] as number, n }
      this.ends[node] = position
      suffixes.push(node)
    }
    this.suffixes = suffixes
  }

  /** The newest earlier place where the text's end occurred, by the longest n-gram that did; null where none did. */
  match(): NgramMatch | null {
    if (this.found === null) return null
    const { end, n } = this.found
    const last = this.ids.length - 1
    let length = n
    while (length < MOST_COUNTED && length <= end && this.ids[end - length] === this.ids[last - length]) length++
    return { next: end + 1, length }
  }

  /** What followed on a match; where that is the text's own end, it goes on with itself. */
  continuation({ next }: NgramMatch, count: number): number[] {
    const period = this.ids.length - next
    return Array.from({ length: count }, (_, i) => this.ids[next + (i % period)] as number)
  }
}
