import { type Run, TemplateError } from './run.js'
import { codePointLength } from './text.js'
import {
  Dict,
  DictView,
  isList,
  Markup,
  Range,
  TemplateObject,
  Tuple,
  textOf,
  typeName,
  Undefined,
  type Value,
} from './values.js'

/** Python's `bool`. */
export function isTrue(value: Value, run: Run): boolean {
  if (value === null || typeof value === 'boolean') return value === true
  if (typeof value === 'bigint') return value !== 0n
  if (typeof value === 'number') return value !== 0
  if (typeof value === 'string') return value !== ''
  if (value instanceof Markup) return value.text !== ''
  if (value instanceof Tuple) return value.items.length > 0
  if (value instanceof Dict) return value.size > 0
  if (value instanceof TemplateObject) return value.length === undefined || value.length(run) > 0
  return value.length > 0
}

/** Python's `len`. */
export function lengthOf(value: Value, run: Run): number {
  const text = textOf(value)
  if (text !== undefined) {
    run.read(text.length)
    return codePointLength(text)
  }
  if (isList(value)) return value.length
  if (value instanceof Tuple) return value.items.length
  if (value instanceof Dict) return value.size
  if (value instanceof TemplateObject && value.length !== undefined) return value.length(run)
  throw new TemplateError(`a ${typeName(value)} has no length`)
}

export function isIterable(value: Value): boolean {
  if (value === null || typeof value === 'boolean' || typeof value === 'bigint' || typeof value === 'number')
    return false
  if (!(value instanceof TemplateObject)) return true
  return value instanceof Markup || value instanceof Tuple || value instanceof Dict || value.iterate !== undefined
}

/** Python's `iter`. */
export function iterate(value: Value, run: Run): Iterator<Value> {
  if (typeof value === 'string') {
    run.read(value.length)
    return value[Symbol.iterator]()
  }
  if (isList(value)) return value[Symbol.iterator]()
  if (value instanceof Tuple) return value.items[Symbol.iterator]()
  if (value instanceof Dict) return new DictView('dict_keys', value).iterate()
  if (value instanceof Markup) return markups(value.text)
  if (value instanceof TemplateObject && value.iterate !== undefined) return value.iterate(run)
  throw new TemplateError(`a ${typeName(value)} cannot be iterated over`)
}

function* markups(text: string): Iterator<Value> {
  for (const character of text) yield new Markup(character)
}

/** `iterate` for a loop: each item is a step. */
export function* each(value: Value, run: Run): Generator<Value, void, undefined> {
  const items = iterate(value, run)
  for (let next = items.next(); next.done !== true; next = items.next()) {
    run.spend(1)
    yield next.value
  }
}

/** Python's `list`. */
export function listOf(value: Value, run: Run): Value[] {
  const list: Value[] = []
  for (const item of each(value, run)) {
    run.makeList(1)
    list.push(item)
  }
  return list
}

/** Python's `==`. */
export function equals(left: Value, right: Value, run: Run): boolean {
  if (left === right) return true
  const text = textOf(left)
  if (text !== undefined) {
    const other = textOf(right)
    if (other === undefined || other.length !== text.length) return false
    run.read(text.length)
    return text === other
  }
  if (typeof left === 'number' || typeof left === 'bigint' || typeof left === 'boolean') {
    const a = typeof left === 'boolean' ? BigInt(left) : left
    const b = typeof right === 'boolean' ? BigInt(right) : right
    // biome-ignore lint/suspicious/noDoubleEquals: an int and a float are equal where their values are
    return (typeof b === 'number' || typeof b === 'bigint') && a == b
  }
  if (isList(left)) return isList(right) && equalItems(left, right, run)
  if (left instanceof Tuple) return right instanceof Tuple && equalItems(left.items, right.items, run)
  if (left instanceof Undefined) return right instanceof Undefined
  if (left instanceof Range) {
    if (!(right instanceof Range) || left.count !== right.count) return false
    return left.count === 0 || (left.start === right.start && (left.count === 1 || left.step === right.step))
  }
  if (!(left instanceof Dict) || !(right instanceof Dict) || left.size !== right.size) return false
  run.enter()
  for (const [key, value] of left.pairs()) {
    run.spend(1)
    const other = right.get(key, run)
    if (other === undefined || !equals(value, other, run)) {
      run.leave()
      return false
    }
  }
  run.leave()
  return true
}

function equalItems(left: readonly Value[], right: readonly Value[], run: Run): boolean {
  if (left.length !== right.length) return false
  run.enter()
  const same = left.every((value, index) => {
    run.spend(1)
    return value === right[index] || equals(value, right[index]!, run)
  })
  run.leave()
  return same
}

/** Whether two are the same object, Python's `is`: of numbers and strings their values count. */
export function isSame(left: Value, right: Value): boolean {
  return left === right
}
