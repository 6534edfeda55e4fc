import {
  exponentDigits,
  exponentText,
  fixedDigits,
  floatText,
  integerText,
  sign as signOf,
  truncate,
} from './numbers.js'
import { toText } from './represent.js'
import { type Run, TemplateError } from './run.js'
import { codePointLength, unitIndex } from './text.js'
import { integerOf, Markup, typeName, Undefined, type Value } from './values.js'

/** Digits behind the point; more are useless and cost time. */
const MAX_PRECISION = 2000

/** Python's `format(value, spec)`. */
export function formatValue(value: Value, spec: string, run: Run): string {
  if (spec === '') return toText(value, run)
  if (typeof value === 'string') return formatText(value, parseSpec(spec), run)
  if (value instanceof Markup) throw new TemplateError('HTML takes no format specification')
  if (typeof value === 'number') return formatFloat(value, parseSpec(spec), run)
  const integer = integerOf(value)
  if (integer === undefined || value instanceof Undefined) {
    throw new TemplateError(`a ${typeName(value)} takes no format specification`)
  }
  return formatInteger(integer, parseSpec(spec), run)
}

interface Spec {
  readonly fill: string | undefined
  readonly align: string | undefined
  readonly sign: string
  readonly alternate: boolean
  readonly zero: boolean
  readonly width: number
  readonly grouping: string
  readonly precision: number | undefined
  readonly type: string
}

function parseSpec(spec: string): Spec {
  const found = /^(?:(.)?([<>=^]))?([-+ ])?(z)?(#)?(0)?(\d{1,9})?([,_])?(?:\.(\d{1,9}))?([a-zA-Z%])?$/su.exec(spec)
  if (found === null || found[4] !== undefined)
    throw new TemplateError(`the format specification '${spec}' is not valid`)
  const [, fill, align, sign = '-', , alternate, zero, width, grouping = '', precision, type = ''] = found
  return {
    fill,
    align,
    sign,
    alternate: alternate !== undefined,
    zero: zero !== undefined,
    width: Number(width ?? 0),
    grouping,
    precision: precision === undefined ? undefined : Number(precision),
    type,
  }
}

function pad(text: string, spec: Spec, align: string, run: Run): string {
  const missing = spec.width - codePointLength(text)
  if (missing <= 0) return text
  run.makeString(text.length + missing)
  const left = align === '>' ? missing : align === '^' ? Math.floor(missing / 2) : 0
  const fill = spec.fill ?? (spec.zero ? '0' : ' ')
  return fill.repeat(left) + text + fill.repeat(missing - left)
}

function formatText(text: string, spec: Spec, run: Run): string {
  if (spec.type !== '' && spec.type !== 's') throw new TemplateError(`a string has no format '${spec.type}'`)
  if (spec.sign !== '-' || spec.alternate || spec.grouping !== '' || spec.align === '=') {
    throw new TemplateError('a string takes no sign, grouping or alternate form')
  }
  const cut = spec.precision === undefined ? text : text.slice(0, unitIndex(text, spec.precision))
  return pad(cut, spec, spec.align ?? '<', run)
}

function formatInteger(value: bigint, spec: Spec, run: Run): string {
  if (/^[eEfFgG%]$/.test(spec.type)) return formatFloat(Number(value), spec, run)
  if (spec.precision !== undefined) throw new TemplateError('an integer takes no precision')
  const size = value < 0n ? -value : value
  const minus = value < 0n ? '-' : ''
  switch (spec.type) {
    case '':
    case 'd':
    case 'n':
      return signed(minus, '', integerText(size, run), '', spec, 3, run)
    case 'b':
    case 'o':
    case 'x':
    case 'X': {
      const radix = spec.type === 'b' ? 2 : spec.type === 'o' ? 8 : 16
      const digits = size.toString(radix)
      const prefix = spec.alternate ? `0${spec.type}` : ''
      if (spec.grouping === ',') throw new TemplateError(`',' does not go with '${spec.type}'`)
      return signed(minus, prefix, spec.type === 'X' ? digits.toUpperCase() : digits, '', spec, 4, run)
    }
    case 'c': {
      if (value < 0n || value > 0x10ffffn) throw new TemplateError(`${integerText(value, run)} is no character`)
      return pad(String.fromCodePoint(Number(value)), spec, spec.align ?? '<', run)
    }
    default:
      throw new TemplateError(`an integer has no format '${spec.type}'`)
  }
}

function formatFloat(value: number, spec: Spec, run: Run): string {
  if (!/^(?:|[eEfFgGn%])$/.test(spec.type)) throw new TemplateError(`a float has no format '${spec.type}'`)
  const [body = '', exponent] = floatBody(value, spec.type, spec.precision, spec.alternate, run).split(/(?=[eE%])/)
  const [whole = '', fraction] = body.split('.')
  const rest = (fraction === undefined ? '' : `.${fraction}`) + (exponent ?? '')
  return signed(Number.isNaN(value) ? '' : signOf(value), '', whole, rest, spec, 3, run)
}

/** The digits of |value|. */
export function floatBody(
  value: number,
  type: string,
  precision: number | undefined,
  alternate: boolean,
  run: Run,
): string {
  const percent = type === '%'
  const scaledValue = percent ? value * 100 : value
  if (!Number.isFinite(scaledValue)) {
    const text = Number.isNaN(scaledValue) ? 'nan' : 'inf'
    return (/[EFG]/.test(type) ? text.toUpperCase() : text) + (percent ? '%' : '')
  }
  const places = precision ?? 6
  if (places > MAX_PRECISION) throw new TemplateError(`a float has at most ${MAX_PRECISION} digits here`)
  run.spend(20 + places)
  const point = alternate && places === 0 ? '.' : ''
  switch (type) {
    case 'f':
    case 'F':
      return fixedDigits(value, places) + point
    case '%':
      return `${fixedDigits(scaledValue, places)}${point}%`
    case 'e':
    case 'E': {
      const { digits, exponent } = exponentDigits(value, places)
      const text = `${digits[0]}${places === 0 ? point : `.${digits.slice(1)}`}e${exponentText(exponent)}`
      return type === 'E' ? text.toUpperCase() : text
    }
    default: {
      if (type === '' && precision === undefined) return floatText(Math.abs(value))
      const text = generalBody(value, places === 0 ? 1 : places, alternate, type === '')
      return type === 'G' ? text.toUpperCase() : text
    }
  }
}

/** `g`; without a type at least one digit follows the point. */
function generalBody(value: number, places: number, alternate: boolean, plain: boolean): string {
  const { digits, exponent } = exponentDigits(value, places - 1)
  const trim = (text: string): string => (alternate || !text.includes('.') ? text : text.replace(/\.?0+$/, ''))
  if (exponent < -4 || exponent >= places - (plain ? 1 : 0)) {
    return `${trim(`${digits[0]}.${digits.slice(1)}`).replace(/\.$/, alternate ? '.' : '')}e${exponentText(exponent)}`
  }
  const text = trim(fixedDigits(value, Math.max(places - 1 - exponent, 0)))
  if (alternate && !text.includes('.')) return `${text}.`
  return plain && !text.includes('.') ? `${text}.0` : text
}

function signed(
  minus: string,
  prefix: string,
  whole: string,
  rest: string,
  spec: Spec,
  group: number,
  run: Run,
): string {
  const sign = minus !== '' ? minus : spec.sign === '-' ? '' : spec.sign
  const head = sign + prefix
  const align = spec.align ?? (spec.zero ? '=' : '>')
  const zeros = align === '=' && (spec.fill ?? (spec.zero ? '0' : ' ')) === '0'
  let digits = whole
  if (spec.grouping !== '' && /^[\da-fA-F]+$/.test(whole)) {
    if (zeros) {
      run.makeString(spec.width)
      const room = spec.width - head.length - rest.length
      while (grouped(digits, spec.grouping, group).length < room) digits = `0${digits}`
    }
    digits = grouped(digits, spec.grouping, group)
  }
  const text = head + digits + rest
  const missing = spec.width - text.length
  if (align !== '=' || missing <= 0) return pad(text, spec, align, run)
  run.makeString(text.length + missing)
  return head + (spec.fill ?? (spec.zero ? '0' : ' ')).repeat(missing) + digits + rest
}

function grouped(digits: string, separator: string, size: number): string {
  let result = ''
  for (let end = digits.length; end > 0; end -= size) {
    const part = digits.slice(Math.max(end - size, 0), end)
    result = result === '' ? part : part + separator + result
  }
  return result
}

/** For printf: an integer of an int or a float. */
export function printfInteger(value: Value, type: string): bigint {
  const integer = integerOf(value)
  if (integer !== undefined) return integer
  if (typeof value === 'number' && /[diu]/.test(type)) return truncate(value)
  throw new TemplateError(`%${type} takes a number, not a ${typeName(value)}`)
}
