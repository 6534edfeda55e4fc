import { TemplateError } from './run.js'
import { stripEnd, WHITESPACE } from './text.js'

export type TokenType =
  | 'data'
  | 'variable_begin'
  | 'variable_end'
  | 'block_begin'
  | 'block_end'
  | 'name'
  | 'string'
  | 'integer'
  | 'float'
  | 'operator'
  | 'eof'

export interface Token {
  readonly type: TokenType
  readonly line: number
  /** The text; of a string its value, of an operator the operator. */
  readonly text: string
}

const SPACES = new RegExp(`[${WHITESPACE}]+`, 'y')
const FLOAT = /(?<!\.)(?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?[eE][+-]?(?:\d+_)*\d+|\.(?:\d+_)*\d+)/y
const INTEGER = /0[bB](?:_?[01])+|0[oO](?:_?[0-7])+|0[xX](?:_?[\da-fA-F])+|[1-9](?:_?\d)*|0(?:_?0)*/y
const NAME = /[\p{L}\p{N}\p{M}\p{Pc}\u00b7\u0387]+/uy
const IDENTIFIER = /^[\p{XIDS}_][\p{XIDC}]*$/u
const OPERATOR = /\/\/|\*\*|==|!=|>=|<=|[-+/*%~[\](){}><=.:|,;]/y
/** In the order in which they are tried; what stands for null is blank. */
const PATTERNS: readonly (readonly [TokenType | null, RegExp])[] = [
  [null, SPACES],
  ['float', FLOAT],
  ['integer', INTEGER],
  ['name', NAME],
  ['operator', OPERATOR],
]
const RAW_BEGIN = new RegExp(`\\{%([-+]?)[${WHITESPACE}]*raw[${WHITESPACE}]*(?:-%\\}[${WHITESPACE}]*|%\\})`, 'y')
const RAW_END = new RegExp(
  `\\{%([-+]?)[${WHITESPACE}]*endraw[${WHITESPACE}]*(?:\\+%\\}|-%\\}[${WHITESPACE}]*|%\\}\\n?)`,
  'y',
)
const BLOCK_END = new RegExp(`\\+%\\}|-%\\}[${WHITESPACE}]*|%\\}\\n?`, 'y')
const VARIABLE_END = new RegExp(`-\\}\\}[${WHITESPACE}]*|\\}\\}`, 'y')
const COMMENT_END = new RegExp(`[${WHITESPACE}]*`, 'y')
const BLANK = new RegExp(`^[${WHITESPACE}]*$`)
const CLOSING: ReadonlyMap<string, string> = new Map([
  ['{', '}'],
  ['(', ')'],
  ['[', ']'],
])

/**
 * Jinja2's tokens under `trim_blocks` and `lstrip_blocks`: a block's line break goes, and so do the blanks before a block that
 * stands first in its line, unless `+` keeps them. One line break at the template's end goes, too.
 */
export function tokenize(template: string): Token[] {
  const source = template.replace(/\r\n?/g, '\n').replace(/\n$/, '')
  const tokens: Token[] = []
  let position = 0
  let lineStarting = true
  let line = 1
  let lineBreak = source.indexOf('\n')

  /** Asked for rising places only. */
  const lineAt = (index: number): number => {
    while (lineBreak >= 0 && lineBreak < index) {
      line++
      lineBreak = source.indexOf('\n', lineBreak + 1)
    }
    return line
  }
  const match = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = position
    return pattern.exec(source)
  }
  const advance = (to: number): void => {
    position = to
    lineStarting = source[to - 1] === '\n'
  }
  const addText = (end: number, sign: string, mayStrip: boolean): void => {
    let text = source.slice(position, end)
    if (sign === '-') text = stripEnd(text)
    else if (sign !== '+' && mayStrip) {
      const lineStart = text.lastIndexOf('\n') + 1
      if ((lineStart > 0 || lineStarting) && BLANK.test(text.slice(lineStart))) text = text.slice(0, lineStart)
    }
    if (text !== '') tokens.push({ type: 'data', line: lineAt(position), text })
  }

  const comment = (start: number): void => {
    const end = source.indexOf('#}', position)
    if (end < 0) throw new TemplateError('a comment has no end', lineAt(start))
    const sign = end > position ? source[end - 1] : ''
    position = end + 2
    if (sign === '-') position += match(COMMENT_END)![0].length
    else if (sign !== '+' && source[position] === '\n') position++
    advance(position)
  }

  const raw = (start: number): void => {
    for (let begin = source.indexOf('{%', position); begin >= 0; begin = source.indexOf('{%', begin + 2)) {
      RAW_END.lastIndex = begin
      const end = RAW_END.exec(source)
      if (end === null) continue
      addText(begin, end[1]!, true)
      advance(begin + end[0].length)
      return
    }
    throw new TemplateError('a raw block has no end', lineAt(start))
  }

  /** What comes next in a tag, blanks as `eof`; null where nothing fits. */
  const token = (): { type: TokenType; length: number; text: string } | null => {
    for (const [type, pattern] of PATTERNS) {
      const found = match(pattern)?.[0]
      if (found === undefined) continue
      if (type === null) return { type: 'eof', length: found.length, text: '' }
      if (type === 'name' && !IDENTIFIER.test(found)) {
        throw new TemplateError(`'${found}' is no name: it has a character that names cannot have`, lineAt(position))
      }
      const isNumber = type === 'float' || type === 'integer'
      return { type, length: found.length, text: isNumber ? found.replaceAll('_', '') : found }
    }
    const end = source[position] === "'" || source[position] === '"' ? stringEnd(source, position) : -1
    if (end < 0) return null
    const text = unescapeLiteral(source.slice(position + 1, end), lineAt(position))
    return { type: 'string', length: end + 1 - position, text }
  }

  /** Closing tags count only outside of brackets, which `expected` has to close. */
  const balance = (operator: string, expected: string[]): void => {
    const closing = CLOSING.get(operator)
    if (closing !== undefined) expected.push(closing)
    if (operator !== '}' && operator !== ')' && operator !== ']') return
    const wanted = expected.pop()
    if (wanted === operator) return
    const hint = wanted === undefined ? '' : `, expected '${wanted}'`
    throw new TemplateError(`unexpected '${operator}'${hint}`, lineAt(position))
  }

  const tag = (type: 'variable' | 'block'): void => {
    const expected: string[] = []
    while (position < source.length) {
      const end = expected.length === 0 ? match(type === 'block' ? BLOCK_END : VARIABLE_END) : null
      if (end !== null) {
        tokens.push({ type: `${type}_end`, line: lineAt(position), text: end[0] })
        advance(position + end[0].length)
        return
      }
      const found = token()
      if (found === null) {
        const character = String.fromCodePoint(source.codePointAt(position)!)
        throw new TemplateError(`unexpected character ${JSON.stringify(character)}`, lineAt(position))
      }
      if (found.type === 'operator') balance(found.text, expected)
      if (found.type !== 'eof') tokens.push({ type: found.type, line: lineAt(position), text: found.text })
      advance(position + found.length)
    }
  }

  while (position < source.length) {
    const start = nextTag(source, position)
    if (start < 0) {
      tokens.push({ type: 'data', line: lineAt(position), text: source.slice(position) })
      break
    }
    RAW_BEGIN.lastIndex = start
    const rawBegin = RAW_BEGIN.exec(source)
    const kind = source[start + 1]
    const sign = rawBegin?.[1] ?? (/[-+]/.test(source[start + 2] ?? '') ? source[start + 2]! : '')
    addText(start, sign, kind !== '{')
    if (rawBegin !== null) {
      advance(start + rawBegin[0].length)
      raw(start)
      continue
    }
    position = start
    if (kind !== '#') {
      tokens.push({ type: kind === '{' ? 'variable_begin' : 'block_begin', line: lineAt(start), text: '' })
    }
    advance(start + 2 + sign.length)
    if (kind === '#') comment(start)
    else tag(kind === '{' ? 'variable' : 'block')
  }
  tokens.push({ type: 'eof', line: lineAt(source.length), text: '' })
  return tokens
}

function nextTag(source: string, from: number): number {
  for (let at = source.indexOf('{', from); at >= 0; at = source.indexOf('{', at + 1)) {
    const next = source[at + 1]
    if (next === '%' || next === '{' || next === '#') return at
  }
  return -1
}

function stringEnd(source: string, start: number): number {
  const quote = source[start]
  for (let at = start + 1; at < source.length; at++) {
    if (source[at] === '\\') at++
    else if (source[at] === quote) return at
  }
  return -1
}

const SIMPLE_ESCAPES: ReadonlyMap<string, string> = new Map([
  ['\n', ''],
  ['\\', '\\'],
  ["'", "'"],
  ['"', '"'],
  ['a', '\x07'],
  ['b', '\b'],
  ['f', '\f'],
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
  ['v', '\v'],
])
const HEX_ESCAPES: ReadonlyMap<string, number> = new Map([
  ['x', 2],
  ['u', 4],
  ['U', 8],
])

/** What stands between quotes, as Python's `unicode-escape` reads it after everything outside ASCII was escaped. */
function unescapeLiteral(text: string, line: number): string {
  if (!text.includes('\\')) return text
  let result = ''
  for (let at = 0; at < text.length; at++) {
    const character = text[at]!
    if (character !== '\\') {
      result += character
      continue
    }
    const next = String.fromCodePoint(text.codePointAt(++at)!)
    const simple = SIMPLE_ESCAPES.get(next)
    const digits = HEX_ESCAPES.get(next)
    if (simple !== undefined) result += simple
    else if (digits !== undefined) {
      const hex = text.slice(at + 1, at + 1 + digits)
      const code = /^[\da-fA-F]+$/.test(hex) && hex.length === digits ? Number.parseInt(hex, 16) : Number.NaN
      if (!(code <= 0x10ffff)) throw new TemplateError(`the escape \\${next} lacks its ${digits} hex digits`, line)
      result += String.fromCodePoint(code)
      at += digits
    } else if (/[0-7]/.test(next)) {
      const octal = /^[0-7]{1,3}/.exec(text.slice(at, at + 3))![0]
      result += String.fromCodePoint(Number.parseInt(octal, 8))
      at += octal.length - 1
    } else if (next === 'N') {
      throw new TemplateError('the escape \\N{…} is not supported: write the character itself', line)
    } else if (next.codePointAt(0)! >= 0x80) {
      // Python has made \xe9 of é by now, and the backslash before it escapes that one's.
      const code = next.codePointAt(0)!
      const hex = code.toString(16)
      result +=
        code < 0x100 ? `\\x${hex}` : code < 0x10000 ? `\\u${hex.padStart(4, '0')}` : `\\U${hex.padStart(8, '0')}`
      at += next.length - 1
    } else result += `\\${next}`
  }
  return result
}
