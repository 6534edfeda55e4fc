import { bind, expectInteger, expectText } from './arguments.js'
import { floatText, integerText } from './numbers.js'
import { isTrue } from './protocols.js'
import { type Run, TemplateError } from './run.js'
import { compareText } from './text.js'
import { Dict, integerOf, isList, type Keywords, Tuple, textOf, typeName, type Value } from './values.js'

interface Style {
  readonly ascii: boolean
  /** What a level is indented by; null: all in one line. */
  readonly indent: string | null
  readonly itemSeparator: string
  readonly keySeparator: string
  readonly sortKeys: boolean
}

/** The filter `tojson` of chat templates: Python's `json.dumps` without escapes of what is not ASCII and of HTML. */
export function toJson(value: Value, args: readonly Value[], keywords: Keywords, run: Run): string {
  const names = ['ensure_ascii', 'indent', 'separators', 'sort_keys']
  const [ascii = false, indent = null, separators = null, sortKeys = false] = bind('tojson', names, 0, args, keywords)
  const [itemSeparator, keySeparator] = separatorsOf(separators, indent)
  const style: Style = {
    ascii: isTrue(ascii, run),
    indent: indentOf(indent, run),
    itemSeparator,
    keySeparator,
    sortKeys: isTrue(sortKeys, run),
  }
  return write(value, style, '\n', run)
}

function separatorsOf(separators: Value, indent: Value): readonly [string, string] {
  if (separators === null) return [indent === null ? ', ' : ',', ': ']
  const pair = separators instanceof Tuple ? separators.items : isList(separators) ? separators : []
  if (pair.length !== 2) throw new TemplateError('the separators of tojson are two strings')
  return [expectText(pair[0]!, 'separators'), expectText(pair[1]!, 'separators')]
}

function indentOf(indent: Value, run: Run): string | null {
  if (indent === null) return null
  const text = textOf(indent)
  if (text !== undefined) return text
  const width = Number(expectInteger(indent, 'indent'))
  run.makeString(Math.max(width, 0))
  return ' '.repeat(Math.max(width, 0))
}

function write(value: Value, style: Style, lineBreak: string, run: Run): string {
  run.spend(1)
  if (value === null) return 'null'
  if (typeof value === 'boolean') return String(value)
  if (typeof value === 'bigint') return integerText(value, run)
  if (typeof value === 'number') return jsonFloat(value)
  const text = textOf(value)
  if (text !== undefined) return jsonString(text, style.ascii, run)
  const items = isList(value) ? value : value instanceof Tuple ? value.items : undefined
  if (items === undefined && !(value instanceof Dict)) {
    throw new TemplateError(`Object of type ${typeName(value)} is not JSON serializable`)
  }
  run.enter()
  const inner = style.indent === null ? '' : lineBreak + style.indent
  run.makeString(inner.length)
  let result = ''
  const add = (part: string): void => {
    result += (result === '' ? '' : style.itemSeparator) + inner + part
    run.makeString(result.length, style.itemSeparator.length + inner.length + part.length)
  }
  if (items !== undefined) for (const item of items) add(write(item, style, inner, run))
  else {
    for (const [key, item] of pairsOf(value as Dict, style, run)) {
      add(jsonString(keyText(key, run), style.ascii, run) + style.keySeparator + write(item, style, inner, run))
    }
  }
  run.leave()
  const end = style.indent === null || result === '' ? '' : lineBreak
  return items === undefined ? `{${result}${end}}` : `[${result}${end}]`
}

function pairsOf(dict: Dict, style: Style, run: Run): Iterable<readonly [Value, Value]> {
  if (!style.sortKeys) return dict.pairs()
  run.makeList(dict.size)
  return [...dict.pairs()].sort(([a], [b]) => {
    run.spend(1)
    const left = textOf(a)
    const right = textOf(b)
    if (left !== undefined && right !== undefined) return compareText(left, right)
    const [x, y] = [typeof a === 'number' ? a : integerOf(a), typeof b === 'number' ? b : integerOf(b)]
    if (x === undefined || y === undefined) throw new TemplateError(`cannot sort ${typeName(a)} and ${typeName(b)}`)
    return x < y ? -1 : x > y ? 1 : 0
  })
}

function keyText(key: Value, run: Run): string {
  const text = textOf(key)
  if (text !== undefined) return text
  if (key === null) return 'null'
  if (typeof key === 'boolean') return String(key)
  if (typeof key === 'bigint') return integerText(key, run)
  if (typeof key === 'number') return jsonFloat(key)
  throw new TemplateError(`a ${typeName(key)} cannot be a key of JSON`)
}

function jsonFloat(value: number): string {
  if (Number.isNaN(value)) return 'NaN'
  if (!Number.isFinite(value)) return value < 0 ? '-Infinity' : 'Infinity'
  return floatText(value)
}

const ESCAPES: ReadonlyMap<string, string> = new Map([
  ['"', '\\"'],
  ['\\', '\\\\'],
  ['\n', '\\n'],
  ['\r', '\\r'],
  ['\t', '\\t'],
  ['\f', '\\f'],
  ['\b', '\\b'],
])

function jsonString(text: string, ascii: boolean, run: Run): string {
  run.makeString(text.length)
  const escaped = text.replace(ascii ? /[^ !#-[\]-~]/g : /["\\]|[^ -\uffff]/g, (unit) => {
    return ESCAPES.get(unit) ?? `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
  })
  if (escaped.length !== text.length) run.makeString(escaped.length)
  return `"${escaped}"`
}
