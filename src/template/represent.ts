import { floatText, integerText } from './numbers.js'
import type { Run } from './run.js'
import { Dict, DictView, isList, Markup, Namespace, Tuple, Undefined, type Value } from './values.js'

/** Python's `str`. */
export function toText(value: Value, run: Run): string {
  if (typeof value === 'string') return value
  if (value instanceof Markup) return value.text
  if (value instanceof Undefined) return ''
  return represent(value, run)
}

/** Python's `repr`. */
export function represent(value: Value, run: Run): string {
  run.spend(1)
  if (value === null) return 'None'
  if (typeof value === 'boolean') return value ? 'True' : 'False'
  if (typeof value === 'bigint') return integerText(value, run)
  if (typeof value === 'number') return floatText(value)
  if (typeof value === 'string') return quoted(value, run)
  if (value instanceof Markup) return `Markup(${quoted(value.text, run)})`
  run.enter()
  const text = representContainer(value, run)
  run.leave()
  run.makeString(text.length)
  return text
}

function representContainer(value: Exclude<Value, null | boolean | bigint | number | string>, run: Run): string {
  if (isList(value)) return `[${joined(value, run)}]`
  if (value instanceof Tuple) return `(${joined(value.items, run)}${value.items.length === 1 ? ',' : ''})`
  if (value instanceof Dict) return `{${joinedPairs(value.pairs(), run)}}`
  if (value instanceof DictView) return `${value.typeName}([${joined([...iterable(value)], run)}])`
  if (value instanceof Namespace) return `<Namespace {${joinedPairs(value.attributes, run)}}>`
  return value.represent(run)
}

function* iterable(view: DictView): Iterable<Value> {
  const items = view.iterate()
  for (let next = items.next(); next.done !== true; next = items.next()) yield next.value
}

function joined(items: readonly Value[], run: Run): string {
  let text = ''
  for (const item of items) {
    text += `${text === '' ? '' : ', '}${represent(item, run)}`
    run.makeString(text.length, 0)
  }
  return text
}

function joinedPairs(pairs: Iterable<readonly [Value, Value]>, run: Run): string {
  let text = ''
  for (const [key, value] of pairs) {
    text += `${text === '' ? '' : ', '}${represent(key, run)}: ${represent(value, run)}`
    run.makeString(text.length, 0)
  }
  return text
}

const NOT_PRINTABLE = /[\p{C}\p{Z}]/u
const NEEDS_ESCAPE = /[\\'\p{C}\p{Z}]/u

/** Python's `repr` of a string. */
export function quoted(text: string, run: Run): string {
  run.makeString(text.length)
  if (!NEEDS_ESCAPE.test(text)) return `'${text}'`
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'"
  let result = ''
  for (const character of text) {
    if (character === quote || character === '\\') result += `\\${character}`
    else if (character === ' ' || !NOT_PRINTABLE.test(character)) result += character
    else if (character === '\n') result += '\\n'
    else if (character === '\r') result += '\\r'
    else if (character === '\t') result += '\\t'
    else result += hexEscape(character.codePointAt(0)!)
  }
  run.makeString(result.length)
  return quote + result + quote
}

export function hexEscape(code: number): string {
  const hex = code.toString(16)
  if (code < 0x100) return `\\x${hex.padStart(2, '0')}`
  return code < 0x10000 ? `\\u${hex.padStart(4, '0')}` : `\\U${hex.padStart(8, '0')}`
}

/** Python's `ascii`. */
export function asciiText(value: Value, run: Run): string {
  return represent(value, run).replace(/[^\0-\x7f]/gu, (character) => hexEscape(character.codePointAt(0)!))
}
