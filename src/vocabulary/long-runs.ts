/**
 * libllama splits text into words by `std::regex` for most kinds of byte-level BPE, which recurses once for each character
 * of a match: long runs of one kind of character overflow its stack, and the process ends. Measured on a stack of 8 MB:
 * 6,000 letters (deepseek-llm), 10,000 spaces (gpt-4o). So for these kinds a long match is cut into pieces.
 */

/** Characters that may stand together where `std::regex` splits the text. */
const LONGEST = 1000

/** `tokenizer.ggml.pre` whose splitters are loops of libllama's own (the last line behind one digit by std::regex): no guard. */
const LOOPS = named(`
  gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert jina-v1-en jina-v2-code roberta-bpe
  exaone4 mpt olmo jais trillion granite-docling
  llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano dbrx smaug-bpe glm4 chatglm-bpe
  qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2 laguna qwen35
  kimi-k2 gemma4 granite-embed-multi-311m sarvam-moe
  starcoder refact command-r smollm codeshell exaone minerva-7b mellum2
`)

/** Kinds whose words hold letters, digits and signs in any mixture: what ends a run is a space. */
const MIXED = named('bloom poro-chat gpt3-finnish viking')
/** Kinds whose words hold single spaces too: what ends a run is a line break. */
const LINES = named('exaone-moe')

/** What a match may be made of, each kind by itself. */
const RUNS = {
  class: [/[\p{L}\p{M}]/u, /\p{N}/u, /\s/u, /[^\p{L}\p{M}\p{N}\s]/u],
  space: [/\S/u, /\s/u],
  line: [/[^\n]/u, /\s/u],
} as const

/** What ends a run: another class of character, white space, or a line break. */
export type RunEnd = keyof typeof RUNS

/** What ends a match of a kind's splitter, or null where any length is fine. */
export function runEnd(model: string, pre: string): RunEnd | null {
  if (model !== 'gpt2' || LOOPS.has(pre)) return null
  if (LINES.has(pre)) return 'line'
  return MIXED.has(pre) ? 'space' : 'class'
}

/** Longer tokens that stand for themselves may be cut: real ones are far shorter. */
const LONGEST_WHOLE = 256
/** Tokens that may overlap where a cut is looked for. */
const MOST_OVERLAPS = 8

/** Texts that must not be cut: tokens that stand for themselves. */
export class WholeTexts {
  private readonly texts: ReadonlySet<string>
  private readonly lengths: readonly number[]

  constructor(texts: Iterable<string>) {
    this.texts = new Set([...texts].filter((text) => text.length > 1 && text.length <= LONGEST_WHOLE))
    this.lengths = [...new Set([...this.texts].map((text) => text.length))].sort((a, b) => a - b)
  }

  /** A place not far before `at` that lies in none of them, or `at` where there is none. */
  placeBefore(text: string, start: number, at: number): number {
    let place = at
    for (let i = 0; i < MOST_OVERLAPS; i++) {
      const before = this.beginBefore(text, place)
      if (before === place) return place
      if (before <= start) break
      place = before
    }
    return at
  }

  /** Where the first text begins that `at` lies in, or `at`. */
  private beginBefore(text: string, at: number): number {
    let first = at
    for (const length of this.lengths) {
      for (let begin = at - length + 1; begin < first; begin++) {
        if (begin >= 0 && this.texts.has(text.slice(begin, begin + length))) first = begin
      }
    }
    return first
  }
}

/** Cuts text so that no run is longer than 1,000 characters. */
export function cutLongRuns(text: string, end: RunEnd, whole: WholeTexts): string[] {
  if (text.length <= LONGEST) return [text]
  const pieces: string[] = []
  let start = 0
  /** Where the run of each kind began that goes on here. */
  const begins: (number | null)[] = RUNS[end].map(() => null)
  for (let i = 0; i < text.length; i++) {
    const character = String.fromCodePoint(text.codePointAt(i)!)
    for (const [k, kind] of RUNS[end].entries()) {
      if (!kind.test(character)) begins[k] = null
      else begins[k] = Math.max(begins[k] ?? i, start)
      if (i - (begins[k] ?? i) < LONGEST) continue
      const cut = whole.placeBefore(text, start, i)
      pieces.push(text.slice(start, cut))
      start = cut
      begins[k] = cut
    }
    i += character.length - 1
  }
  pieces.push(text.slice(start))
  return pieces
}

function named(names: string): ReadonlySet<string> {
  return new Set(names.trim().split(/\s+/))
}
