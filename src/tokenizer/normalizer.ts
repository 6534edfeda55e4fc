import { toByteCharacters } from './byte-level.js'
import type { Part } from './fields.js'
import { readPattern } from './pattern.js'
import { readPrecompiled } from './precompiled.js'
import { COMBINING_MARK, CONTROL, lowercase, NONSPACING_MARK, type NormalForm, normalForm } from './unicode.js'

export interface Normalizer {
  normalize(text: string): string
  /** Whether what `text` starts with is lost, so that the result starts elsewhere in the original. Default: never. */
  losesStart?(text: string): boolean
}

/** A replacement that makes a text longer must keep within this: a chain of them could fill the memory. */
const LONGEST_GROWN = 2 ** 22

const WHITE_SPACE = /\p{White_Space}/gu
const SPACES_AT_START = /^\p{White_Space}+/u
const CHINESE =
  /[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]/gu
const CONTROLS = String.raw`\x01-\x08\x0b\x0e-\x1f\x7f\x8f\x9f`
const NMT_REMOVED = new RegExp(`[${CONTROLS}]`, 'g')
const NMT_SPACES = /[\t\n\f\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]/g

/** The normalizer that a part of a tokenizer.json describes. Errors: FileError, UnsupportedError. */
export function readNormalizer(part: Part): Normalizer {
  switch (part.type) {
    case 'Sequence':
      return sequence(part.parts('normalizers').map(readNormalizer))
    case 'NFC':
    case 'NFD':
    case 'NFKC':
    case 'NFKD': {
      const form = part.type as NormalForm
      return { normalize: (text) => normalForm(text, form) }
    }
    case 'Lowercase':
      return { normalize: lowercase }
    case 'Strip':
      return strip(part.boolean('strip_left'), part.boolean('strip_right'))
    case 'StripAccents':
      return remover(COMBINING_MARK)
    case 'Replace':
      return replace(part)
    case 'Prepend': {
      const prepended = part.string('prepend')
      return { normalize: (text) => (text === '' ? '' : prepended + text) }
    }
    case 'Precompiled':
      return { normalize: readPrecompiled(part) }
    case 'Nmt':
      return sequence([remover(NMT_REMOVED), { normalize: (text) => text.replace(NMT_SPACES, ' ') }])
    case 'ByteLevel':
      return { normalize: toByteCharacters }
    case 'Bert':
    case 'BertNormalizer':
      return bert(part)
    default:
      return part.unsupported(`type ${part.type.slice(0, 40)}`)
  }
}

function sequence(steps: readonly Normalizer[]): Normalizer {
  return {
    normalize: (text) => steps.reduce((result, step) => step.normalize(result), text),
    losesStart(text) {
      let result = text
      for (const step of steps) {
        if (step.losesStart?.(result)) return true
        result = step.normalize(result)
      }
      return false
    },
  }
}

/** @param removed a global expression that matches single characters */
function remover(removed: RegExp): Normalizer {
  const first = new RegExp(`^(?:${removed.source})`, removed.flags.replace('g', ''))
  return { normalize: (text) => text.replace(removed, ''), losesStart: (text) => first.test(text) }
}

function strip(left: boolean, right: boolean): Normalizer {
  return {
    normalize(text) {
      const rest = left ? text.replace(SPACES_AT_START, '') : text
      return right ? rest.slice(0, endWithoutSpaces(rest)) : rest
    },
    losesStart: (text) => left && SPACES_AT_START.test(text),
  }
}

/** Where the white space at the end starts. */
export function endWithoutSpaces(text: string): number {
  let end = text.length
  while (end > 0 && /\p{White_Space}/u.test(text[end - 1]!)) end--
  return end
}

function replace(part: Part): Normalizer {
  const pattern = readPattern(part)
  const content = part.string('content')
  return {
    normalize(text) {
      const matches = pattern(text)
      if (text === '' || matches.length === 0) return text
      const most = text.length + (matches.length / 2) * content.length
      if (content.length > 1 && most > LONGEST_GROWN) part.fail(`makes a text of over ${LONGEST_GROWN} characters`)
      let result = ''
      let previous = 0
      for (let i = 0; i < matches.length; i += 2) {
        result += text.slice(previous, matches[i]) + content
        previous = matches[i + 1]!
      }
      return result + text.slice(previous)
    },
    losesStart(text) {
      const [start, end] = pattern(text)
      if (start !== 0 || end === undefined) return false
      return end > 0 && (content === '' || Array.from(text.slice(0, end)).length > 1)
    },
  }
}

function bert(part: Part): Normalizer {
  const lower = part.boolean('lowercase')
  const accents = part.value('strip_accents') ?? null
  const steps: Normalizer[] = []
  if (part.boolean('clean_text')) {
    steps.push(remover(new RegExp(`${CONTROL.source}|\\0`, 'gv')))
    steps.push({ normalize: (text) => text.replace(WHITE_SPACE, ' ') })
  }
  if (part.boolean('handle_chinese_chars')) steps.push({ normalize: (text) => text.replace(CHINESE, ' $& ') })
  if (accents === null ? lower : part.boolean('strip_accents')) {
    steps.push({ normalize: (text) => normalForm(text, 'NFD') }, remover(NONSPACING_MARK))
  }
  if (lower) steps.push({ normalize: lowercase })
  return sequence(steps)
}
