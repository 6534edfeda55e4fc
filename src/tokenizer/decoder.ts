import { decodeUtf8, fromByteCharacters } from './byte-level.js'
import type { Part } from './fields.js'
import { readPattern } from './pattern.js'
import { prependScheme } from './pre-tokenizer.js'

/** Turns tokens, as the vocabulary spells them, into stretches of text. */
export type Decoder = (tokens: readonly string[]) => readonly string[]

/** The decoder that a part of a tokenizer.json describes. Errors: FileError, UnsupportedError. */
export function readDecoder(part: Part): Decoder {
  switch (part.type) {
    case 'Sequence': {
      const steps = part.parts('decoders').map(readDecoder)
      return (tokens) => steps.reduce((result, step) => step(result), tokens)
    }
    case 'ByteLevel':
      return (tokens) => [fromByteCharacters(tokens)]
    case 'ByteFallback':
      return byteFallback
    case 'Fuse':
      return (tokens) => [tokens.join('')]
    case 'Metaspace':
      return metaspace(part)
    case 'Replace':
      return replace(part)
    case 'Strip':
      return strip(part)
    case 'WordPiece':
      return wordPiece(part)
    case 'BPEDecoder': {
      const suffix = part.string('suffix')
      return (tokens) => tokens.map((token, i) => token.replaceAll(suffix, i === tokens.length - 1 ? '' : ' '))
    }
    case 'CTC':
      return ctc(part)
    default:
      return part.unsupported(`type ${part.type.slice(0, 40)}`)
  }
}

/** Tokens `<0x..>` in a row are bytes; where they are no UTF-8, each becomes U+FFFD. */
function byteFallback(tokens: readonly string[]): string[] {
  const result: string[] = []
  let bytes: number[] = []
  const flush = (): void => {
    if (bytes.length === 0) return
    const text = decodeUtf8(bytes)
    const isValid = Buffer.from(text).equals(Buffer.from(bytes))
    result.push(isValid ? text : '\ufffd'.repeat(bytes.length))
    bytes = []
  }
  for (const token of tokens) {
    const byte = /^<0x([\dA-Fa-f]{2})>$/.exec(token)?.[1] ?? /^<0x\+([\dA-Fa-f])>$/.exec(token)?.[1]
    if (byte !== undefined) {
      bytes.push(Number.parseInt(byte, 16))
      continue
    }
    flush()
    result.push(token)
  }
  flush()
  return result
}

function metaspace(part: Part): Decoder {
  const replacement = part.character('replacement')
  const dropsFirst = prependScheme(part) !== 'never'
  return (tokens) => tokens.map((token, i) => token.replaceAll(replacement, i === 0 && dropsFirst ? '' : ' '))
}

function replace(part: Part): Decoder {
  const pattern = readPattern(part)
  const content = part.string('content')
  const replaced = (token: string): string => {
    const matches = token === '' ? [] : pattern(token)
    let result = ''
    let previous = 0
    for (let i = 0; i < matches.length; i += 2) {
      result += token.slice(previous, matches[i]) + content
      previous = matches[i + 1]!
    }
    return result + token.slice(previous)
  }
  return (tokens) => tokens.map(replaced)
}

function strip(part: Part): Decoder {
  const content = part.character('content')
  const atStart = part.count('start')
  const atEnd = part.count('stop')
  return (tokens) =>
    tokens.map((token) => {
      let start = 0
      while (start < atStart * content.length && token.startsWith(content, start)) start += content.length
      let end = token.length
      for (let i = 0; i < atEnd && end > start && token.endsWith(content, end); i++) end -= content.length
      return token.slice(start, end)
    })
}

function wordPiece(part: Part): Decoder {
  const prefix = part.string('prefix')
  const tidy = part.boolean('cleanup') ? tidied : (text: string) => text
  return (tokens) =>
    tokens.map((token, i) => {
      if (i === 0) return tidy(token)
      return tidy(token.startsWith(prefix) ? token.slice(prefix.length) : ` ${token}`)
    })
}

function tidied(text: string): string {
  return text
    .replaceAll(' .', '.')
    .replaceAll(' ?', '?')
    .replaceAll(' !', '!')
    .replaceAll(' ,', ',')
    .replaceAll(" ' ", "'")
    .replaceAll(" n't", "n't")
    .replaceAll(" 'm", "'m")
    .replaceAll(' do not', " don't")
    .replaceAll(" 's", "'s")
    .replaceAll(" 've", "'ve")
    .replaceAll(" 're", "'re")
}

function ctc(part: Part): Decoder {
  const padding = part.string('pad_token')
  const delimiter = part.string('word_delimiter_token')
  const cleanup = part.boolean('cleanup')
  return (tokens) =>
    tokens
      .filter((token, i) => i === 0 || token !== tokens[i - 1])
      .map((token) => {
        const text = token.replaceAll(padding, '')
        return cleanup ? tidied(text).replaceAll(delimiter, ' ') : text
      })
      .filter((text) => text !== '')
}
