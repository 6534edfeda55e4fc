import { escapeHtml } from './html.js'
import { checkInteger, floatFloorDivide, floatModulo, floorDivide, integerPower, modulo } from './numbers.js'
import { printf } from './printf.js'
import { each, equals, lengthOf } from './protocols.js'
import { type Run, TemplateError } from './run.js'
import type { BinaryOperator, Comparison } from './syntax.js'
import { characters, compareText, isPlain } from './text.js'
import {
  Dict,
  DictView,
  integerOf,
  isList,
  Markup,
  Range,
  Tuple,
  textOf,
  typeName,
  Undefined,
  type Value,
} from './values.js'

/** A Python operator on two values. */
export function binary(operator: BinaryOperator, left: Value, right: Value, run: Run): Value {
  if (left instanceof Undefined) left.fail()
  const text = textOf(left)
  if (operator === '%' && text !== undefined) return printf(left as string | Markup, right, run)
  if (right instanceof Undefined) right.fail()
  const a = numberOf(left)
  const b = numberOf(right)
  if (a !== undefined && b !== undefined) return arithmetic(operator, a, b, run)
  if (operator === '+') {
    const sum = add(left, right, run)
    if (sum !== undefined) return sum
  } else if (operator === '*') {
    const count = integerOf(right)
    if (count !== undefined) return repeat(left, count, run)
    const other = integerOf(left)
    if (other !== undefined) return repeat(right, other, run)
  }
  throw new TemplateError(`cannot apply ${operator} to ${typeName(left)} and ${typeName(right)}`)
}

/** A number with True as 1; undefined for anything else. */
export function numberOf(value: Value): bigint | number | undefined {
  return typeof value === 'number' ? value : integerOf(value)
}

function arithmetic(operator: BinaryOperator, left: bigint | number, right: bigint | number, run: Run): Value {
  if (operator === '/' || operator === '//' || operator === '%') {
    if (Number(right) === 0) throw new TemplateError('division by zero')
  }
  if (typeof left === 'bigint' && typeof right === 'bigint' && operator !== '/') {
    return integerArithmetic(operator, left, right, run)
  }
  const a = toFloat(left)
  const b = toFloat(right)
  switch (operator) {
    case '+':
      return a + b
    case '-':
      return a - b
    case '*':
      return a * b
    case '/':
      return a / b
    case '//':
      return floatFloorDivide(a, b)
    case '%':
      return floatModulo(a, b)
    case '**':
      return power(a, b)
  }
}

function integerArithmetic(operator: Exclude<BinaryOperator, '/'>, left: bigint, right: bigint, run: Run): Value {
  switch (operator) {
    case '+':
      return checkInteger(left + right, run)
    case '-':
      return checkInteger(left - right, run)
    case '*':
      return checkInteger(left * right, run)
    case '//':
      return floorDivide(left, right)
    case '%':
      return modulo(left, right)
    case '**':
      return right < 0n ? power(toFloat(left), toFloat(right)) : integerPower(left, right, run)
  }
}

function power(base: number, exponent: number): number {
  if (base === 0 && exponent < 0) throw new TemplateError('zero cannot be raised to a negative power')
  if (base < 0 && !Number.isInteger(exponent)) throw new TemplateError('complex numbers are not supported')
  // Python says 1, JavaScript NaN.
  if (base === 1) return 1
  const result = base ** exponent
  if (!Number.isFinite(result) && Number.isFinite(base) && Number.isFinite(exponent)) {
    throw new TemplateError('a result is too large for a float')
  }
  return result
}

export function toFloat(value: bigint | number): number {
  const float = Number(value)
  if (typeof value === 'bigint' && !Number.isFinite(float))
    throw new TemplateError('an integer is too large for a float')
  return float
}

function add(left: Value, right: Value, run: Run): Value | undefined {
  const a = textOf(left)
  const b = textOf(right)
  if (a !== undefined && b !== undefined) {
    if (left instanceof Markup) return joinTexts(a, escapeHtml(right, run), run, true)
    if (right instanceof Markup) return joinTexts(escapeHtml(left, run), b, run, true)
    return joinTexts(a, b, run, false)
  }
  if (isList(left) && isList(right)) {
    run.makeList(left.length + right.length)
    return [...left, ...right]
  }
  if (left instanceof Tuple && right instanceof Tuple) {
    run.makeList(left.items.length + right.items.length)
    return new Tuple([...left.items, ...right.items])
  }
  return undefined
}

function joinTexts(left: string, right: string, run: Run, isMarkup: boolean): Value {
  // Both stay as they are until the sum is read.
  run.makeString(left.length + right.length, Math.min(left.length, right.length))
  return isMarkup ? new Markup(left + right) : left + right
}

function repeat(value: Value, count: bigint, run: Run): Value {
  const times = count < 0n ? 0n : count
  const text = textOf(value)
  if (text !== undefined) {
    const length = BigInt(text.length) * times
    run.makeString(length > 1n << 30n ? 1 << 30 : Number(length))
    const repeated = text.repeat(length === 0n ? 0 : Number(times))
    return value instanceof Markup ? new Markup(repeated) : repeated
  }
  const items = isList(value) ? value : value instanceof Tuple ? value.items : undefined
  if (items === undefined) throw new TemplateError(`cannot repeat a ${typeName(value)}`)
  const length = BigInt(items.length) * times
  run.makeList(length > 1n << 30n ? 1 << 30 : Number(length))
  const repeated =
    length === 0n ? [] : Array.from({ length: Number(length) }, (_, index) => items[index % items.length]!)
  return isList(value) ? repeated : new Tuple(repeated)
}

export function negate(value: Value, run: Run): Value {
  if (value instanceof Undefined) value.fail()
  const number = numberOf(value)
  if (number === undefined) throw new TemplateError(`a ${typeName(value)} has no sign`)
  return typeof number === 'bigint' ? checkInteger(-number, run) : -number
}

export function positive(value: Value): Value {
  if (value instanceof Undefined) value.fail()
  const number = numberOf(value)
  if (number === undefined) throw new TemplateError(`a ${typeName(value)} has no sign`)
  return number
}

export function compare(operator: Comparison, left: Value, right: Value, run: Run): boolean {
  switch (operator) {
    case '==':
      return equals(left, right, run)
    case '!=':
      return !equals(left, right, run)
    case 'in':
      return contains(right, left, run)
    case 'not in':
      return !contains(right, left, run)
    default:
      return ordered(operator, left, right, run)
  }
}

function ordered(operator: '<' | '<=' | '>' | '>=', left: Value, right: Value, run: Run): boolean {
  if (left instanceof Undefined) left.fail()
  if (right instanceof Undefined) right.fail()
  const a = numberOf(left)
  const b = numberOf(right)
  if (a !== undefined && b !== undefined) {
    if (operator === '<') return a < b
    if (operator === '<=') return a <= b
    return operator === '>' ? a > b : a >= b
  }
  const order = orderOf(left, right, operator, run)
  if (typeof order === 'boolean') return order
  if (operator === '<') return order < 0
  if (operator === '<=') return order <= 0
  return operator === '>' ? order > 0 : order >= 0
}

/** The order of two texts or sequences; of sequences that differ in an item, what the operator says of that item. */
function orderOf(left: Value, right: Value, operator: '<' | '<=' | '>' | '>=', run: Run): number | boolean {
  const a = textOf(left)
  const b = textOf(right)
  if (a !== undefined && b !== undefined) {
    run.read(Math.min(a.length, b.length))
    return compareText(a, b)
  }
  const both =
    isList(left) && isList(right)
      ? ([left, right] as const)
      : left instanceof Tuple && right instanceof Tuple
        ? ([left.items, right.items] as const)
        : undefined
  if (both === undefined) throw new TemplateError(`cannot order ${typeName(left)} and ${typeName(right)}`)
  run.enter()
  for (const [index, item] of both[0].entries()) {
    const other = both[1][index]
    if (other === undefined) break
    if (item === other || equals(item, other, run)) continue
    const order = ordered(operator, item, other, run)
    run.leave()
    return order
  }
  run.leave()
  return both[0].length - both[1].length
}

/** For sorting: whether `left` comes first. */
export function isLess(left: Value, right: Value, run: Run): boolean {
  run.spend(1)
  return ordered('<', left, right, run)
}

/** Python's `item in container`. */
export function contains(container: Value, item: Value, run: Run): boolean {
  const text = textOf(container)
  if (text !== undefined) {
    const part = textOf(item)
    if (item instanceof Undefined) item.fail()
    if (part === undefined) throw new TemplateError(`a string contains no ${typeName(item)}`)
    run.read(text.length)
    return text.includes(part)
  }
  if (container instanceof Dict) return container.has(item, run)
  if (container instanceof DictView && container.typeName === 'dict_keys') return container.dict.has(item, run)
  for (const candidate of each(container, run)) {
    if (candidate === item || equals(candidate, item, run)) return true
  }
  return false
}

function sliceBound(value: Value): bigint | null {
  if (value === null) return null
  const bound = integerOf(value)
  if (bound === undefined) throw new TemplateError('the bounds of a slice are integers or none')
  return bound
}

/** Python's `value[start:stop:step]`. */
export function slice(value: Value, start: Value, stop: Value, step: Value, run: Run): Value {
  if (value instanceof Undefined) value.fail()
  const text = textOf(value)
  if (text === undefined && !isList(value) && !(value instanceof Tuple) && !(value instanceof Range)) {
    throw new TemplateError(`a ${typeName(value)} cannot be sliced`)
  }
  const by = sliceBound(step) ?? 1n
  if (by === 0n) throw new TemplateError('the step of a slice is zero')
  const length = BigInt(lengthOf(value, run))
  const clamp = (bound: bigint | null, missing: bigint): bigint => {
    if (bound === null) return missing
    const at = bound < 0n ? bound + length : bound
    const least = by > 0n ? 0n : -1n
    const most = by > 0n ? length : length - 1n
    return at < least ? least : at > most ? most : at
  }
  const from = clamp(sliceBound(start), by > 0n ? 0n : length - 1n)
  const to = clamp(sliceBound(stop), by > 0n ? length : -1n)
  if (value instanceof Range) {
    return new Range(value.start + from * value.step, value.start + to * value.step, value.step * by)
  }
  if (text !== undefined) {
    run.makeString(text.length)
    let part: string
    if (by === 1n && isPlain(text)) part = text.slice(Number(from), Math.max(Number(from), Number(to)))
    else part = picked(characters(text), from, to, by).join('')
    return value instanceof Markup ? new Markup(part) : part
  }
  const items = picked(isList(value) ? value : (value as Tuple).items, from, to, by)
  run.makeList(items.length)
  return isList(value) ? items : new Tuple(items)
}

function picked<T>(items: readonly T[], from: bigint, to: bigint, step: bigint): T[] {
  if (step === 1n) return items.slice(Number(from), Math.max(Number(from), Number(to)))
  const result: T[] = []
  const by = Number(step)
  const end = Number(to)
  for (let at = Number(from); by > 0 ? at < end : at > end; at += by) result.push(items[at]!)
  return result
}
