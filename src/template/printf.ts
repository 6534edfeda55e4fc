import { floatBody, printfInteger } from './format-spec.js'
import { escapeHtml } from './html.js'
import { integerText, sign as signOf } from './numbers.js'
import { asciiText, represent, toText } from './represent.js'
import { type Run, TemplateError } from './run.js'
import { codePointLength, unitIndex } from './text.js'
import { Dict, integerOf, isList, Markup, Tuple, textOf, typeName, Undefined, type Value } from './values.js'

const CONVERSION = /%(?:\(([^()]*)\))?([-+ #0]*)(\*|\d{1,9})?(?:\.(\*|\d{0,9}))?[hlL]?(.)/suy

/** Python's `text % values`; of HTML, what is put in is escaped. */
export function printf(self: string | Markup, values: Value, run: Run): Value {
  const format = self instanceof Markup ? self.text : self
  const inText = (value: string): string => (self instanceof Markup ? escapeHtml(value, run) : value)
  const args = values instanceof Tuple ? values.items : [values]
  let used = 0
  let named = false
  const next = (): Value => {
    const value = args[used++]
    if (value === undefined) throw new TemplateError('the format has more fields than there are values')
    return value
  }
  const size = (text: string): number => {
    if (text !== '*') return Number(text)
    const value = integerOf(next())
    if (value === undefined || value > 1n << 31n) throw new TemplateError("'*' takes an integer")
    return Number(value)
  }

  let result = ''
  let at = 0
  for (;;) {
    const percent = format.indexOf('%', at)
    if (percent < 0) break
    result += format.slice(at, percent)
    CONVERSION.lastIndex = percent
    const found = CONVERSION.exec(format)
    if (found === null) throw new TemplateError('the format ends within a field')
    at = CONVERSION.lastIndex
    const [, name, flags = '', widthText, precisionText, type = ''] = found
    let source: Value | undefined
    if (name !== undefined) {
      named = true
      if (!(values instanceof Dict)) throw new TemplateError('a format with names takes a dict')
      source = values.get(name, run)
      if (source === undefined) throw new TemplateError(`the format has no value for '${name}'`)
    }
    let width = widthText === undefined ? 0 : size(widthText)
    const left = flags.includes('-') || width < 0
    width = Math.abs(width)
    const precision =
      precisionText === undefined ? undefined : Math.max(size(precisionText === '' ? '0' : precisionText), 0)
    if (type === '%') {
      result += '%'
      continue
    }
    const value = source === undefined ? next() : source
    const { head, body, numeric } = convert(value, type, flags, precision, run)
    const missing = width - head.length - codePointLength(body)
    run.makeString(result.length + body.length + Math.max(missing, 0), body.length + Math.max(missing, 0))
    const fill = missing > 0 ? (flags.includes('0') && !left && numeric ? '0' : ' ').repeat(missing) : ''
    let field: string
    if (left) field = head + body + fill
    else field = fill.startsWith('0') ? head + fill + body : fill + head + body
    result += value instanceof Markup && type === 's' ? field : inText(field)
  }
  const isMapping = values instanceof Dict || isList(values) || values instanceof Undefined
  if (!named && used < args.length && !isMapping)
    throw new TemplateError('the format has fewer fields than there are values')
  const text = result + format.slice(at)
  run.makeString(text.length)
  return self instanceof Markup ? new Markup(text) : text
}

function convert(
  value: Value,
  type: string,
  flags: string,
  precision: number | undefined,
  run: Run,
): { head: string; body: string; numeric: boolean } {
  const signFor = (minus: boolean): string => (minus ? '-' : flags.includes('+') ? '+' : flags.includes(' ') ? ' ' : '')
  const alternate = flags.includes('#')
  switch (type) {
    case 's':
    case 'r':
    case 'a': {
      const text = type === 's' ? toText(value, run) : type === 'r' ? represent(value, run) : asciiText(value, run)
      return {
        head: '',
        body: precision === undefined ? text : text.slice(0, unitIndex(text, precision)),
        numeric: false,
      }
    }
    case 'c': {
      const text = textOf(value)
      const code = integerOf(value)
      if (text !== undefined && codePointLength(text) === 1) return { head: '', body: text, numeric: false }
      if (code === undefined || code < 0n || code > 0x10ffffn) throw new TemplateError('%c takes one character')
      return { head: '', body: String.fromCodePoint(Number(code)), numeric: false }
    }
    case 'd':
    case 'i':
    case 'u':
    case 'x':
    case 'X':
    case 'o': {
      if (value instanceof Undefined) value.fail()
      const integer = printfInteger(value, type)
      const size = integer < 0n ? -integer : integer
      const radix = type === 'o' ? 8 : 16
      let digits = /[diu]/.test(type) ? integerText(size, run) : size.toString(radix)
      if (precision !== undefined) {
        run.makeString(precision)
        digits = digits.padStart(precision, '0')
      }
      const prefix = alternate && /[xXo]/.test(type) ? `0${type}` : ''
      return { head: signFor(integer < 0n) + prefix, body: type === 'X' ? digits.toUpperCase() : digits, numeric: true }
    }
    case 'e':
    case 'E':
    case 'f':
    case 'F':
    case 'g':
    case 'G': {
      if (value instanceof Undefined) value.fail()
      const integer = integerOf(value)
      const number = typeof value === 'number' ? value : integer === undefined ? undefined : Number(integer)
      if (number === undefined) throw new TemplateError(`%${type} takes a number, not a ${typeName(value)}`)
      const minus = !Number.isNaN(number) && signOf(number) === '-'
      return { head: signFor(minus), body: floatBody(number, type, precision, alternate, run), numeric: true }
    }
    default:
      throw new TemplateError(`the format has the unknown conversion %${type}`)
  }
}
