import { attributeOf, pythonAttribute } from './access.js'
import { bind, expectSize, expectText } from './arguments.js'
import { escapeHtml, stripTags, unescapeHtml } from './html.js'
import { toJson } from './json-text.js'
import { fixedDigits, halfEven, roundFloat, truncate } from './numbers.js'
import { binary, negate, numberOf, toFloat } from './operators.js'
import { printf } from './printf.js'
import { each, isIterable, isTrue, lengthOf } from './protocols.js'
import { toText } from './represent.js'
import { type Run, TemplateError } from './run.js'
import type { Filter } from './sequence-filters.js'
import { collapse, replaceText, softText, stringMethod } from './string-methods.js'
import { characters, codePointLength, splitLines, stripEnd, stripStart, unitIndex, WHITESPACE } from './text.js'
import { Dict, type Keywords, Markup, Tuple, textOf, typeName, Undefined, type Value } from './values.js'

/** A filter that is the method of a string. */
function method(name: string, parameters: readonly string[], required: number): Filter {
  return (value, args, keywords, run) => {
    const given = bind(name, parameters, required, args, keywords).filter((arg) => arg !== undefined)
    return callMethod(softText(value, run), name, given, run)
  }
}

function callMethod(self: string | Markup, name: string, args: readonly Value[], run: Run): Value {
  const found = stringMethod(self, name) as { call: (args: readonly Value[], keywords: Keywords, run: Run) => Value }
  return found.call(args, new Map(), run)
}

function likeSelf(self: string | Markup, text: string): string | Markup {
  return self instanceof Markup ? new Markup(text) : text
}

const center: Filter = (value, args, keywords, run) => {
  const [width = 80n] = bind('center', ['width'], 0, args, keywords)
  return callMethod(softText(value, run), 'center', [width], run)
}

const title: Filter = (value, args, keywords, run) => {
  bind('title', [], 0, args, keywords)
  const self = softText(value, run)
  const text = self instanceof Markup ? self.text : self
  run.makeString(text.length)
  // A word begins after a blank, a hyphen or an opening bracket.
  const words = text.split(WORD_START)
  return words.map((word) => upperFirst(word)).join('')
}

const WORD_START = new RegExp(`([-${WHITESPACE}({[<]+)`)

function upperFirst(word: string): string {
  const [first] = word
  return first === undefined ? '' : first.toUpperCase() + word.slice(first.length).toLowerCase()
}

const replace: Filter = (value, args, keywords, run) => {
  const [old, by, count = null] = bind('replace', ['old', 'new', 'count'], 2, args, keywords)
  const most = count === null ? -1 : expectSize(count, 'replace')
  if (!run.autoescape) return replaceText(toText(value, run), toText(old!, run), toText(by!, run), most, run)
  const asMarkup = value instanceof Markup || old instanceof Markup || by instanceof Markup
  const text = (part: Value): string => (asMarkup ? escapeHtml(part, run) : toText(part, run))
  const result = replaceText(text(value), toText(old!, run), text(by!), most, run)
  return asMarkup ? new Markup(result) : result
}

const indent: Filter = (value, args, keywords, run) => {
  const [width = 4n, first = false, blank = false] = bind('indent', ['width', 'first', 'blank'], 0, args, keywords)
  if (value instanceof Undefined) value.fail()
  const text = expectText(value, 'indent')
  const indentation = textOf(width) ?? ' '.repeat(sized(expectSize(width, 'indent'), run))
  const lines = splitLines(`${text}\n`)
  run.makeList(lines.length)
  run.makeString(text.length + lines.length * indentation.length)
  const all = isTrue(blank, run)
  const result = lines.map((line, index) => (index > 0 && (all || line !== '') ? indentation + line : line)).join('\n')
  const shown = isTrue(first, run) ? indentation + result : result
  return value instanceof Markup ? new Markup(shown) : shown
}

function sized(width: number, run: Run): number {
  run.makeString(Math.max(width, 0))
  return Math.max(width, 0)
}

const truncateText: Filter = (value, args, keywords, run) => {
  const names = ['length', 'killwords', 'end', 'leeway']
  const [length = 255n, killwords = false, end = '...', leeway = null] = bind('truncate', names, 0, args, keywords)
  const most = expectSize(length, 'truncate')
  const tail = expectText(end, 'truncate')
  const tolerance = leeway === null ? 5 : expectSize(leeway, 'truncate')
  const tailLength = codePointLength(tail)
  if (most < tailLength || tolerance < 0) throw new TemplateError('truncate is given a length that is too small')
  if (lengthOf(value, run) <= most + tolerance) return value
  const text = expectText(value, 'truncate')
  run.makeString(text.length)
  let cut = text.slice(0, unitIndex(text, most - tailLength))
  if (!isTrue(killwords, run)) {
    const blank = cut.lastIndexOf(' ')
    if (blank >= 0) cut = cut.slice(0, blank)
  }
  const self = value as string | Markup
  return likeSelf(self, cut + (self instanceof Markup ? escapeHtml(end, run) : tail))
}

const wordcount: Filter = (value, args, keywords, run) => {
  bind('wordcount', [], 0, args, keywords)
  const text = toText(value, run)
  run.makeString(text.length)
  return BigInt(text.match(/[\p{L}\p{N}_]+/gu)?.length ?? 0)
}

const format: Filter = (value, args, keywords, run) => {
  if (args.length > 0 && keywords.size > 0) throw new TemplateError('format takes values by place or by name, not both')
  const values = keywords.size > 0 ? Dict.of(run, keywords) : new Tuple(args)
  return printf(softText(value, run), values, run)
}

/** Python's `int` of a string; undefined where it is none. */
function parseInteger(text: string, base: number): bigint | undefined {
  const found = /^([-+]?)(0[xXoObB])?_?([\da-zA-Z]+(?:_[\da-zA-Z]+)*)$/.exec(callTrim(text))
  if (found === null || found[3]!.length > 4300) return undefined
  const prefixBase = { x: 16, o: 8, b: 2 }[found[2]?.[1]?.toLowerCase() ?? '']
  let digits = found[3]!.replaceAll('_', '')
  let radix = base
  if (prefixBase !== undefined) {
    // In base 16 the prefix 0b is two digits.
    if (base === 0 || base === prefixBase) radix = prefixBase
    else digits = found[2]! + digits
  } else if (base === 0) {
    if (/^0+[1-9]/.test(digits)) return undefined
    radix = 10
  }
  let value = 0n
  for (const digit of digits) {
    const number = Number.parseInt(digit, 36)
    if (!(number < radix)) return undefined
    value = value * BigInt(radix) + BigInt(number)
  }
  return found[1] === '-' ? -value : value
}

function callTrim(text: string): string {
  return stripEnd(stripStart(text))
}

/** Python's `float` of a string; undefined where it is none. */
function parseFloatText(text: string): number | undefined {
  const trimmed = callTrim(text)
  if (/^[-+]?(?:inf|infinity)$/i.test(trimmed)) return trimmed.startsWith('-') ? -Infinity : Infinity
  if (/^[-+]?nan$/i.test(trimmed)) return Number.NaN
  const digits = String.raw`\d+(?:_\d+)*`
  const pattern = new RegExp(`^[-+]?(?:${digits}(?:\\.(?:${digits})?)?|\\.${digits})(?:[eE][-+]?${digits})?$`)
  return pattern.test(trimmed) ? Number(trimmed.replaceAll('_', '')) : undefined
}

const toInt: Filter = (value, args, keywords) => {
  const [fallback = 0n, base = 10n] = bind('int', ['default', 'base'], 0, args, keywords)
  if (value instanceof Undefined) value.fail()
  const text = textOf(value)
  if (text !== undefined) {
    const radix = expectSize(base, 'int')
    const integer = radix === 0 || (radix >= 2 && radix <= 36) ? parseInteger(text, radix) : undefined
    if (integer !== undefined) return integer
    const float = parseFloatText(text)
    return float === undefined || !Number.isFinite(float) ? fallback : truncate(float)
  }
  const number = numberOf(value)
  if (number === undefined || Number.isNaN(number)) return fallback
  return typeof number === 'bigint' ? number : truncate(number)
}

const toFloatFilter: Filter = (value, args, keywords) => {
  const [fallback = 0] = bind('float', ['default'], 0, args, keywords)
  if (value instanceof Undefined) value.fail()
  const text = textOf(value)
  if (text !== undefined) return parseFloatText(text) ?? fallback
  const number = numberOf(value)
  return number === undefined ? fallback : toFloat(number)
}

const abs: Filter = (value, args, keywords, run) => {
  bind('abs', [], 0, args, keywords)
  const number = numberOf(value)
  if (number === undefined) throw new TemplateError(`a ${typeName(value)} has no absolute value`)
  if (typeof number === 'number') return Math.abs(number)
  return number < 0n ? negate(number, run) : number
}

const round: Filter = (value, args, keywords, run) => {
  const [precision = 0n, kind = 'common'] = bind('round', ['precision', 'method'], 0, args, keywords)
  if (kind !== 'common' && kind !== 'ceil' && kind !== 'floor') {
    throw new TemplateError('method must be common, ceil or floor')
  }
  const number = numberOf(value)
  if (number === undefined) throw new TemplateError(`a ${typeName(value)} cannot be rounded`)
  if (kind === 'common') {
    const places = expectSize(precision, 'round')
    if (typeof number === 'number') return roundFloat(number, places)
    return places >= 0 ? number : roundInteger(number, -places, run)
  }
  const factor = binary('**', 10n, precision, run)
  const scaled = binary('*', value, factor, run)
  const whole = typeof scaled === 'number' ? truncate(kind === 'ceil' ? Math.ceil(scaled) : Math.floor(scaled)) : scaled
  return binary('/', whole, factor, run)
}

function roundInteger(value: bigint, places: number, run: Run): bigint {
  const unit = binary('**', 10n, BigInt(places), run) as bigint
  const size = halfEven(value < 0n ? -value : value, unit) * unit
  return value < 0n ? -size : size
}

const filesizeformat: Filter = (value, args, keywords, run) => {
  const [inBinary = false] = bind('filesizeformat', ['binary'], 0, args, keywords)
  const bytes = toFloatFilter(value, ['?'], new Map(), run)
  if (typeof bytes !== 'number') throw new TemplateError('filesizeformat takes a number')
  const isBinary = isTrue(inBinary, run)
  const base = isBinary ? 1024 : 1000
  if (bytes === 1) return '1 Byte'
  if (bytes < base) return `${truncate(bytes)} Bytes`
  const prefixes = characters('KMGTPEZY').map((letter) =>
    isBinary ? `${letter}iB` : `${letter === 'K' ? 'k' : letter}B`,
  )
  let index = 0
  while (index < prefixes.length - 1 && bytes >= base ** (index + 2)) index++
  return `${fixedDigits((base * bytes) / base ** (index + 2), 1)} ${prefixes[index]}`
}

const urlencode: Filter = (value, args, keywords, run) => {
  bind('urlencode', [], 0, args, keywords)
  if (textOf(value) !== undefined || !isIterable(value)) return quoteUrl(toText(value, run), '/', run)
  const pairs = value instanceof Dict ? [...value.pairs()] : [...each(value, run)].map((pair) => [...each(pair, run)])
  if (pairs.some((pair) => pair.length !== 2)) throw new TemplateError('urlencode takes pairs')
  return pairs
    .map((pair) => pair.map((part) => quoteUrl(toText(part, run), '', run).replaceAll('%20', '+')).join('='))
    .join('&')
}

function quoteUrl(text: string, safe: string, run: Run): string {
  run.makeString(3 * text.length)
  return [...new TextEncoder().encode(text)]
    .map((byte) => {
      const character = String.fromCharCode(byte)
      if (/[\w.~-]/.test(character) || character === safe) return character
      return `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
    })
    .join('')
}

const xmlattr: Filter = (value, args, keywords, run) => {
  const [autospace = true] = bind('xmlattr', ['autospace'], 0, args, keywords)
  if (!(value instanceof Dict)) throw new TemplateError(`xmlattr takes a dict, not a ${typeName(value)}`)
  const parts: string[] = []
  for (const [key, item] of value.pairs()) {
    if (item === null || item instanceof Undefined) continue
    const name = expectText(key, 'xmlattr')
    if (/[\s/>=]/.test(name)) throw new TemplateError('an attribute has a character that attributes cannot have')
    parts.push(`${escapeHtml(key, run)}="${escapeHtml(item, run)}"`)
  }
  const text = (parts.length > 0 && isTrue(autospace, run) ? ' ' : '') + parts.join(' ')
  run.makeString(text.length)
  return run.autoescape ? new Markup(text) : text
}

const attr: Filter = (value, args, keywords, run) => {
  const [name] = bind('attr', ['name'], 1, args, keywords)
  const text = expectText(name!, 'attr')
  if (value instanceof Undefined) value.fail()
  return pythonAttribute(value, text, run) === undefined
    ? new Undefined(`'${typeName(value)} object' has no attribute '${text}'`)
    : attributeOf(value, text, run)
}

/** A filter without arguments. */
function plain(change: (value: Value, run: Run) => Value): Filter {
  return (value, args, keywords, run) => {
    bind('the filter', [], 0, args, keywords)
    return change(value, run)
  }
}

/** Jinja2's filters of strings and numbers. */
export const TEXT_FILTERS: readonly (readonly [string, Filter])[] = [
  ['abs', abs],
  ['attr', attr],
  ['capitalize', method('capitalize', [], 0)],
  ['center', center],
  ['e', plain((value, run) => new Markup(escapeHtml(value, run)))],
  ['escape', plain((value, run) => new Markup(escapeHtml(value, run)))],
  ['filesizeformat', filesizeformat],
  ['float', toFloatFilter],
  ['forceescape', plain((value, run) => new Markup(escapeHtml(toText(value, run), run)))],
  ['format', format],
  ['indent', indent],
  ['int', toInt],
  ['lower', method('lower', [], 0)],
  ['replace', replace],
  ['round', round],
  ['safe', plain((value, run) => new Markup(toText(value, run)))],
  ['string', plain((value, run) => softText(value, run))],
  ['striptags', plain((value, run) => unescapeHtml(collapse(stripTags(toText(value, run)), run)))],
  ['title', title],
  ['tojson', toJson],
  ['trim', method('strip', ['chars'], 0)],
  ['truncate', truncateText],
  ['upper', method('upper', [], 0)],
  ['urlencode', urlencode],
  ['wordcount', wordcount],
  ['xmlattr', xmlattr],
]
