import { InputError } from '../../errors.js'

/** Tokenizers of BLEU by sacrebleu's names. */
export const BLEU_TOKENIZERS = ['13a', 'zh'] as const
export type BleuTokenizer = (typeof BLEU_TOKENIZERS)[number]

/**
 * Tokens of a segment as BLEU counts them: `13a` is NIST's mteval-v13a, WMT's for languages with spaces; `zh` makes
 * every Chinese character a token and treats the rest alike.
 * @throws InputError for another name
 */
export function tokenizeForBleu(text: string, tokenizer: BleuTokenizer): string[] {
  switch (tokenizer) {
    case '13a':
      return splitWords(splitPunctuation(` ${unescapeEntities(trimEnd(text))} `))
    case 'zh':
      return splitWords(splitPunctuation(splitWords(text).join(' ').replace(CHINESE, ' $& ')))
    default:
      throw new InputError(`unknown tokenizer ${String(tokenizer)}; known: ${BLEU_TOKENIZERS.join(', ')}`)
  }
}

// What Python calls white space, in which \s of JavaScript lacks 1C to 1F and 85, and has FEFF too much.
const SPACE = '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000'
const SPACES = new RegExp(`[${SPACE}]+`, 'u')

/** The parts between white space. */
export function splitWords(text: string): string[] {
  return text.split(SPACES).filter((word) => word !== '')
}

function trimEnd(text: string): string {
  let end = text.length
  while (end > 0 && SPACES.test(text[end - 1]!)) end--
  return text.slice(0, end)
}

function unescapeEntities(text: string): string {
  return text
    .replaceAll('<skipped>', '')
    .replaceAll('-\n', '')
    .replaceAll('\n', ' ')
    .replaceAll('&quot;', '"')
    .replaceAll('&amp;', '&')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
}

/** mteval-v13a's rules, in its order: ASCII punctuation stands alone; . and , but within numbers; - after a digit. */
function splitPunctuation(text: string): string {
  return text
    .replace(/[ -&(-+/:-@[-`{-~]/gu, ' $& ')
    .replace(/([^0-9])([.,])/gu, '$1 $2 ')
    .replace(/([.,])([^0-9])/gu, ' $1 $2')
    .replace(/([0-9])-/gu, '$1 - ')
}

// Ideographs with their radicals and strokes, full-width forms, CJK punctuation, bopomofo, symbols. 2001 to 2A6D (quotes,
// dashes, arrows, mathematics) is what sacrebleu's range for Extension B, which lies at 20000 to 2A6D6, comes to.
const CHINESE =
  /[\u2001-\u2a6d\u2e80-\u2fdf\u2ff0-\u303f\u3100-\u312f\u31a0-\u31bf\u31c0-\u31ef\u3200-\u4db5\u4e00-\u9fbb\uf900-\ufa2d\ufa30-\ufa6a\ufa70-\ufad9\ufe10-\ufe1f\ufe30-\ufe4f\uff00-\uffef]/gu
