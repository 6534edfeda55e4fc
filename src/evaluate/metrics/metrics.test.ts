import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bleuOfStatistics, bleuStatistics, corpusBleu, sentenceBleu } from './bleu.js'
import { chrfOfStatistics, chrfStatistics, corpusChrf } from './chrf.js'
import { ngramMatches } from './ngrams.js'
import { corpusRouge, pairRouge } from './rouge.js'
import { splitSegments, sumStatistics } from './segments.js'
import { type BleuTokenizer, splitWords, tokenizeForBleu } from './tokenize.js'

interface BleuCase {
  pair: string
  tokenize: BleuTokenizer
  hypotheses: string[]
  references: string[]
  bleu: number
  precisions: number[]
  bp: number
  chrf2: number
  chrfpp: number
  sentence_bleu: number[]
}

interface RougeCase {
  hypotheses: string[]
  references: string[]
  scores: Record<string, number>
}

function fixture<T>(name: string): T {
  const path = new URL(`../../../test/fixtures/metrics/${name}.json`, import.meta.url)
  return JSON.parse(readFileSync(path, 'utf8')) as T
}

const word = fc.constantFrom('a', 'b', 'c', 'the', 'fish', '3.5', '3,', '-4', '(x)', '&lt;', '中文', '“d”', '\u{20000}')
const segment = fc.array(word, { maxLength: 12 }).map((words) => words.join(' '))
const corpus = fc.array(fc.tuple(segment, segment), { minLength: 1, maxLength: 8 }).map((pairs) => ({
  hypotheses: pairs.map(([hypothesis]) => hypothesis),
  references: pairs.map(([, reference]) => reference),
}))
const tokenizer = fc.constantFrom<BleuTokenizer>('13a', 'zh')

describe("sacrebleu's figures", () => {
  it.each(fixture<BleuCase[]>('bleu').map((wanted) => [wanted.pair, wanted.hypotheses.length, wanted] as const))(
    '%s, %i segments',
    (_pair, _segments, wanted) => {
      const { hypotheses, references, tokenize } = wanted
      const bleu = corpusBleu(hypotheses, references, { tokenize })
      expect(bleu.score).toBeCloseTo(wanted.bleu, 9)
      expect(bleu.brevityPenalty).toBeCloseTo(wanted.bp, 9)
      for (const [i, precision] of wanted.precisions.entries()) expect(bleu.precisions[i]).toBeCloseTo(precision, 9)
      expect(corpusChrf(hypotheses, references)).toBeCloseTo(wanted.chrf2, 9)
      expect(corpusChrf(hypotheses, references, { wordOrder: 2 })).toBeCloseTo(wanted.chrfpp, 9)
      for (const [i, score] of wanted.sentence_bleu.entries()) {
        expect(sentenceBleu(hypotheses[i]!, references[i]!, { tokenize }).score).toBeCloseTo(score, 9)
      }
    },
  )
})

describe("torchmetrics' figures", () => {
  it.each(fixture<RougeCase[]>('rouge').map((wanted) => [wanted.hypotheses.length, wanted] as const))(
    '%i pairs',
    (_pairs, { hypotheses, references, scores }) => {
      const rouge = corpusRouge(hypotheses, references)
      for (const kind of ['rouge1', 'rouge2', 'rougeL'] as const) {
        expect(rouge[kind].precision).toBeCloseTo(scores[`${kind}_precision`]!, 5)
        expect(rouge[kind].recall).toBeCloseTo(scores[`${kind}_recall`]!, 5)
        expect(rouge[kind].f1).toBeCloseTo(scores[`${kind}_fmeasure`]!, 5)
      }
    },
  )
})

describe('tokenizers', () => {
  it.each<[BleuTokenizer, string, string]>([
    [
      '13a',
      'Hello, world. It\'s 3.14 (or 1,000)-ish; "x" 2-3',
      'Hello , world . It\'s 3.14 ( or 1,000 ) -ish ; " x " 2 - 3',
    ],
    ['13a', 'a &lt; b &amp;amp; &quot;c&quot;<skipped>', 'a < b & amp ; " c "'],
    ['13a', '.5 costs 5.', '. 5 costs 5 .'],
    ['13a', '一二，三。', '一二，三。'],
    ['zh', '我有 3.5 kg，是吗？“好”', '我 有 3.5 kg ， 是 吗 ？ “ 好 ”'],
    ['zh', ' .5 costs 5. ', '.5 costs 5.'],
    ['zh', '&lt;', '& lt ;'],
    // Extension B is not split, because sacrebleu does not: its range for it is another one.
    ['zh', '\u{20000}\u{20001}', '\u{20000}\u{20001}'],
    ['13a', 'a\u001cb\u0085c\u3000d\r', 'a b c d'],
    ['13a', '\ufeffa', '\ufeffa'],
    ['13a', '', ''],
    ['zh', '', ''],
  ])('%s %j', (name, text, tokens) => expect(tokenizeForBleu(text, name).join(' ')).toBe(tokens))

  it('an unknown one is refused', () => {
    expect(() => tokenizeForBleu('a', 'ja' as BleuTokenizer)).toThrow('unknown tokenizer ja; known: 13a, zh')
  })

  it('long runs of white space and punctuation take linear time', () => {
    for (const text of [`${' '.repeat(300_000)}x`, '.'.repeat(300_000)]) {
      expect(tokenizeForBleu(text, '13a').length).toBeGreaterThan(0)
      expect(tokenizeForBleu(text, 'zh').length).toBeGreaterThan(0)
    }
  })

  it('lose nothing but white space', () => {
    const text = fc.string({ unit: 'binary' }).filter((s) => !s.includes('&') && !s.includes('-\n'))
    fc.assert(
      fc.property(text, tokenizer, (s, name) => {
        expect(tokenizeForBleu(s, name).join('')).toBe(splitWords(s).join(''))
      }),
    )
  })
})

describe('segments', () => {
  it.each([
    ['', []],
    ['a', ['a']],
    ['a\n', ['a']],
    ['\n', ['']],
    ['a\n\n', ['a', '']],
    ['\na\n\nb', ['', 'a', '', 'b']],
    ['a\rb\u2028c\u2029d\u0085e\ff\r\ng', ['a\rb\u2028c\u2029d\u0085e\ff\r', 'g']],
  ])('%j', (text, wanted) => expect(splitSegments(text)).toEqual(wanted))

  it('must be as many, and one at least', () => {
    for (const score of [corpusBleu, corpusChrf, corpusRouge]) {
      expect(() => score(['a'], ['a', 'b'])).toThrow(/must be as many, not 1 and 2 segments/)
      expect(() => score([], [])).toThrow(/no segments/)
    }
  })
})

describe('empty segments', () => {
  it('count in the corpus', () => {
    expect(corpusBleu(['', 'a b c d'], ['a', 'a b c d'])).toMatchObject({ hypothesisLength: 4, referenceLength: 5 })
    const { rouge1 } = corpusRouge(['', 'a'], ['a', 'a'])
    expect(rouge1).toEqual({ precision: 0.5, recall: 0.5, f1: 0.5 })
  })

  it('score 0 on their own', () => {
    for (const [hypothesis, reference] of [
      ['', 'a'],
      ['a', ''],
      ['', ''],
    ] as const) {
      expect(corpusBleu([hypothesis], [reference]).score).toBe(0)
      expect(sentenceBleu(hypothesis, reference).score).toBe(0)
      expect(corpusChrf([hypothesis], [reference], { wordOrder: 2 })).toBe(0)
      expect(corpusRouge([hypothesis], [reference]).rougeL).toEqual({ precision: 0, recall: 0, f1: 0 })
    }
  })
})

describe('laws', () => {
  it('a corpus of itself has everything', () => {
    const long = fc.array(word, { minLength: 4, maxLength: 12 }).map((words) => words.join(' '))
    fc.assert(
      fc.property(fc.array(long, { minLength: 1 }), tokenizer, (texts, tokenize) => {
        expect(corpusBleu(texts, texts, { tokenize }).score).toBe(100)
        expect(corpusChrf(texts, texts, { wordOrder: 2 })).toBeCloseTo(100, 9)
      }),
    )
    expect(corpusRouge(['a fish'], ['A fish.'])).toEqual({
      rouge1: { precision: 1, recall: 1, f1: 1 },
      rouge2: { precision: 1, recall: 1, f1: 1 },
      rougeL: { precision: 1, recall: 1, f1: 1 },
    })
  })

  it('scores stay between 0 and 100', () => {
    fc.assert(
      fc.property(corpus, tokenizer, fc.nat(4), ({ hypotheses, references }, tokenize, wordOrder) => {
        const { score } = corpusBleu(hypotheses, references, { tokenize })
        const chrf = corpusChrf(hypotheses, references, { wordOrder })
        for (const value of [score, chrf]) {
          expect(value).toBeGreaterThanOrEqual(0)
          expect(value).toBeLessThanOrEqual(100)
        }
      }),
    )
  })

  it('swapping both sides swaps precision and recall of ROUGE', () => {
    fc.assert(
      fc.property(segment, segment, (a, b) => {
        const one = pairRouge(a, b)
        const other = pairRouge(b, a)
        for (const kind of ['rouge1', 'rouge2', 'rougeL'] as const) {
          const { precision, recall, f1 } = other[kind]
          expect(one[kind]).toEqual({ precision: recall, recall: precision, f1 })
        }
      }),
    )
  })

  it('sums of segments give the corpus, in any order', () => {
    fc.assert(
      fc.property(corpus, ({ hypotheses, references }) => {
        const bleu = hypotheses.map((text, i) => bleuStatistics(text, references[i]!)).reverse()
        expect(bleuOfStatistics(sumStatistics(bleu))).toEqual(corpusBleu(hypotheses, references))
        const chrf = hypotheses.map((text, i) => chrfStatistics(text, references[i]!)).reverse()
        expect(chrfOfStatistics(sumStatistics(chrf))).toBe(corpusChrf(hypotheses, references))
      }),
    )
  })

  it('n-gram matches are those of plain counting', () => {
    const units = fc.array(fc.constantFrom('a', 'b', 'a b', ''), { maxLength: 10 })
    fc.assert(
      fc.property(units, units, (a, b) => {
        for (const [i, matches] of ngramMatches(a, b, 5).entries()) {
          const grams = (of: readonly string[]): string[] =>
            of.slice(0, Math.max(0, of.length - i)).map((_, at) => JSON.stringify(of.slice(at, at + i + 1)))
          const left = grams(b)
          let wanted = 0
          for (const gram of grams(a)) {
            const at = left.indexOf(gram)
            if (at < 0) continue
            left.splice(at, 1)
            wanted++
          }
          expect(matches).toBe(wanted)
        }
      }),
    )
  })
})

it('chrF leaves out n-grams longer than their reference, segment by segment', () => {
  const references = ['abc', 'hello there']
  expect(corpusChrf(['abcdefgh', 'hello world'], references)).toBeCloseTo(33.415878119819105, 9)
})

it('a word order must be a whole number', () => {
  for (const wordOrder of [-1, 1.5, Number.NaN]) {
    expect(() => corpusChrf(['a'], ['a'], { wordOrder })).toThrow(/word order must be a whole number/)
  }
})
