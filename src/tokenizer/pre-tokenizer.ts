import { toByteCharacters } from './byte-level.js'
import type { Part } from './fields.js'
import { expressionPattern, literalPattern, type Pattern, readPattern } from './pattern.js'
import { type Piece, readBehavior, splitter } from './split.js'
import { PUNCTUATION, WORD } from './unicode.js'

/** Splits a piece into those that the model sees one by one. */
export type PreTokenizer = (piece: Piece) => Piece[]

const GPT2 =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu
const splitGpt2 = splitter(expressionPattern(GPT2), 'Isolated')
const splitAtSpaces = splitter(everyCharacter('\\p{White_Space}'), 'Removed')
const splitAtPunctuation = splitter(everyCharacter(PUNCTUATION), 'Isolated')
const numbers = everyCharacter('\\p{N}')

/** The pre-tokenizer that a part of a tokenizer.json describes. Errors: FileError, UnsupportedError. */
export function readPreTokenizer(part: Part): PreTokenizer {
  switch (part.type) {
    case 'Sequence': {
      const steps = part.parts('pretokenizers').map(readPreTokenizer)
      return (piece) => steps.reduce((pieces, step) => pieces.flatMap(step), [piece])
    }
    case 'Split':
      return splitter(readPattern(part), readBehavior(part), part.boolean('invert'))
    case 'ByteLevel':
      return byteLevel(part.boolean('add_prefix_space'), part.boolean('use_regex', true))
    case 'Metaspace':
      return metaspace(part)
    case 'Whitespace':
      return splitter(expressionPattern(new RegExp(`${WORD}+|[^${WORD}\\p{White_Space}]+`, 'gv')), 'Removed', true)
    case 'WhitespaceSplit':
      return splitAtSpaces
    case 'BertPreTokenizer':
      return (piece) => splitAtSpaces(piece).flatMap(splitAtPunctuation)
    case 'Punctuation':
      return splitter(everyCharacter(PUNCTUATION), readBehavior(part, 'Isolated'))
    case 'Digits':
      return splitter(numbers, part.boolean('individual_digits') ? 'Isolated' : 'Contiguous')
    case 'Delimiter':
    case 'CharDelimiterSplit':
      return splitter(literalPattern(part.character('delimiter')), 'Removed')
    case 'FixedLength':
      return fixedLength(part)
    default:
      return part.unsupported(`type ${part.type.slice(0, 40)}`)
  }
}

/** Single characters of a class. The tables of these are the newest, so the text is taken as it is. */
function everyCharacter(set: string): Pattern {
  const expression = new RegExp(set, 'gv')
  return (text) => {
    const matches: number[] = []
    for (const match of text.matchAll(expression)) matches.push(match.index, match.index + match[0].length)
    return matches
  }
}

function byteLevel(addsSpace: boolean, splits: boolean): PreTokenizer {
  return (piece) => {
    const text = addsSpace && !piece.text.startsWith(' ') ? ` ${piece.text}` : piece.text
    const whole = { text, first: piece.first }
    const pieces = splits ? splitGpt2(whole) : [whole]
    return pieces.map((split) => ({ text: toByteCharacters(split.text), first: split.first }))
  }
}

function metaspace(part: Part): PreTokenizer {
  const replacement = part.character('replacement')
  const split = part.boolean('split', true) ? splitter(literalPattern(replacement), 'MergedWithNext') : null
  const scheme = prependScheme(part)
  return (piece) => {
    let text = piece.text.replaceAll(' ', replacement)
    const prepends = scheme === 'always' || (scheme === 'first' && piece.first)
    if (prepends && !text.startsWith(replacement)) text = replacement + text
    const whole = { text, first: piece.first }
    return split === null ? [whole] : split(whole)
  }
}

/** Older files say `add_prefix_space`. */
export function prependScheme(part: Part): 'always' | 'first' | 'never' {
  const scheme = part.optionalString('prepend_scheme') ?? 'always'
  const addsSpace = part.value('add_prefix_space') ?? null
  if (scheme !== 'always' && scheme !== 'first' && scheme !== 'never') {
    return part.unsupported(`prepend_scheme ${scheme.slice(0, 40)}`)
  }
  if (addsSpace === null || part.boolean('add_prefix_space')) return scheme
  if (scheme !== 'never' && part.optionalString('prepend_scheme') !== null) {
    return part.fail('add_prefix_space and prepend_scheme contradict each other')
  }
  return 'never'
}

function fixedLength(part: Part): PreTokenizer {
  const length = part.value('length') === undefined ? 5 : part.count('length')
  if (length === 0) part.fail('length is 0')
  return ({ text, first }) => {
    const characters = Array.from(text)
    const pieces: Piece[] = []
    for (let start = 0; start < characters.length; start += length) {
      pieces.push({ text: characters.slice(start, start + length).join(''), first: first && start === 0 })
    }
    return pieces
  }
}
