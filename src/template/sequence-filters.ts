import { itemOf } from './access.js'
import { bind, expectSize } from './arguments.js'
import { escapeHtml } from './html.js'
import { binary, compare, isLess } from './operators.js'
import { each, equals, isTrue, iterate, lengthOf, listOf } from './protocols.js'
import { toText } from './represent.js'
import { type Run, TemplateError } from './run.js'
import {
  Dict,
  DictView,
  Generator,
  isList,
  type Keywords,
  Markup,
  Range,
  Tuple,
  textOf,
  typeName,
  Undefined,
  type Value,
} from './values.js'

export type Filter = (value: Value, args: readonly Value[], keywords: Keywords, run: Run) => Value

/** A function that reads the attribute at a path such as `a.b.0`; without a path it gives the value itself. */
export function attributeGetter(path: Value | undefined, run: Run, fallback?: Value): (value: Value) => Value {
  if (path === undefined || path === null) return (value) => value
  const text = textOf(path)
  const parts: Value[] =
    text === undefined ? [path] : text.split('.').map((part) => (/^\d+$/.test(part) ? BigInt(part) : part))
  return (value) => {
    let current = value
    for (const part of parts) {
      current = itemOf(current, part, run)
      if (fallback !== undefined && fallback !== null && current instanceof Undefined) current = fallback
    }
    return current
  }
}

function ignoreCase(value: Value): Value {
  if (typeof value === 'string') return value.toLowerCase()
  return value instanceof Markup ? new Markup(value.text.toLowerCase()) : value
}

function caseKey(caseSensitive: Value, run: Run): (value: Value) => Value {
  return isTrue(caseSensitive, run) ? (value) => value : ignoreCase
}

/** Stable; items of equal keys keep their order in a reversed sort, too. */
function sorted(items: readonly Value[], key: (value: Value) => Value, reverse: boolean, run: Run): Value[] {
  run.makeList(2 * items.length)
  const keyed = items.map((value) => ({ value, key: key(value) }))
  const sign = reverse ? -1 : 1
  keyed.sort((a, b) => (isLess(a.key, b.key, run) ? -sign : isLess(b.key, a.key, run) ? sign : 0))
  return keyed.map(({ value }) => value)
}

const sort: Filter = (value, args, keywords, run) => {
  const names = ['reverse', 'case_sensitive', 'attribute']
  const [reverse = false, caseSensitive = false, attribute] = bind('sort', names, 0, args, keywords)
  const paths = attribute === undefined || attribute === null ? [null] : (textOf(attribute)?.split(',') ?? [attribute])
  const getters = paths.map((path) => attributeGetter(path, run))
  const fold = caseKey(caseSensitive, run)
  return sorted(listOf(value, run), (item) => getters.map((get) => fold(get(item))), isTrue(reverse, run), run)
}

const dictsort: Filter = (value, args, keywords, run) => {
  const names = ['case_sensitive', 'by', 'reverse']
  const [caseSensitive = false, by = 'key', reverse = false] = bind('dictsort', names, 0, args, keywords)
  if (by !== 'key' && by !== 'value') throw new TemplateError("dictsort sorts by 'key' or 'value'")
  if (value instanceof Undefined) value.fail()
  if (!(value instanceof Dict)) throw new TemplateError(`dictsort takes a dict, not a ${typeName(value)}`)
  const fold = caseKey(caseSensitive, run)
  const pairs = [...value.pairs()].map((pair) => new Tuple(pair))
  run.makeList(pairs.length)
  const key = (pair: Value): Value => fold((pair as Tuple).items[by === 'key' ? 0 : 1]!)
  return sorted(pairs, key, isTrue(reverse, run), run)
}

function extreme(name: 'min' | 'max'): Filter {
  return (value, args, keywords, run) => {
    const [caseSensitive = false, attribute] = bind(name, ['case_sensitive', 'attribute'], 0, args, keywords)
    const get = attributeGetter(attribute, run)
    const fold = caseKey(caseSensitive, run)
    let best: { value: Value; key: Value } | undefined
    for (const item of each(value, run)) {
      const key = fold(get(item))
      if (best === undefined || compare(name === 'min' ? '<' : '>', key, best.key, run)) best = { value: item, key }
    }
    return best === undefined ? new Undefined('No aggregated item, sequence was empty.') : best.value
  }
}

const unique: Filter = (value, args, keywords, run) => {
  const [caseSensitive = false, attribute] = bind('unique', ['case_sensitive', 'attribute'], 0, args, keywords)
  const get = attributeGetter(attribute, run)
  const fold = caseKey(caseSensitive, run)
  function* items(): Iterator<Value> {
    const seen = new Dict()
    for (const item of each(value, run)) {
      const key = fold(get(item))
      if (seen.has(key, run)) continue
      seen.set(key, null, run)
      yield item
    }
  }
  return new Generator(items())
}

const groupby: Filter = (value, args, keywords, run) => {
  const names = ['attribute', 'default', 'case_sensitive']
  const [attribute, fallback, caseSensitive = false] = bind('groupby', names, 1, args, keywords)
  const get = attributeGetter(attribute, run, fallback)
  const fold = caseKey(caseSensitive, run)
  const groups: { key: Value; items: Value[] }[] = []
  for (const item of sorted(listOf(value, run), (any) => fold(get(any)), false, run)) {
    const key = fold(get(item))
    const last = groups.at(-1)
    if (last !== undefined && equals(last.key, key, run)) last.items.push(item)
    else groups.push({ key, items: [item] })
  }
  return groups.map(({ items }) => new Group(get(items[0]!), items))
}

/** A pair that has names as well. */
class Group extends Tuple {
  constructor(
    private readonly grouper: Value,
    private readonly list: readonly Value[],
  ) {
    super([grouper, list])
  }

  override attribute(name: string): Value | undefined {
    if (name === 'grouper') return this.grouper
    return name === 'list' ? this.list : undefined
  }
}

const sum: Filter = (value, args, keywords, run) => {
  const [attribute, start = 0n] = bind('sum', ['attribute', 'start'], 0, args, keywords)
  if (textOf(start) !== undefined) throw new TemplateError('sum adds no strings')
  const get = attributeGetter(attribute, run)
  let total: Value = start
  for (const item of each(value, run)) total = binary('+', total, get(item), run)
  return total
}

const join: Filter = (value, args, keywords, run) => {
  const [separator = '', attribute] = bind('join', ['d', 'attribute'], 0, args, keywords)
  const get = attributeGetter(attribute, run)
  const items: Value[] = []
  for (const item of each(value, run)) items.push(get(item))
  const asMarkup = run.autoescape && [separator, ...items].some((item) => item instanceof Markup)
  const text = (item: Value): string => (asMarkup ? escapeHtml(item, run) : toText(item, run))
  const by = text(separator)
  let length = 0
  const texts = items.map((item) => {
    const part = text(item)
    length += part.length + by.length
    run.makeString(length, part.length + by.length)
    return part
  })
  return asMarkup ? new Markup(texts.join(by)) : texts.join(by)
}

const first: Filter = (value, args, keywords, run) => {
  bind('first', [], 0, args, keywords)
  const next = iterate(value, run).next()
  return next.done === true ? new Undefined('No first item, sequence was empty.') : next.value
}

/** The items from the last to the first of what can be gone through backwards; undefined of other things. */
function backwards(value: Value, run: Run): Value[] | undefined {
  const isSequence = isList(value) || textOf(value) !== undefined || value instanceof Tuple || value instanceof Range
  return isSequence || value instanceof Dict || value instanceof DictView ? listOf(value, run).reverse() : undefined
}

const last: Filter = (value, args, keywords, run) => {
  bind('last', [], 0, args, keywords)
  if (value instanceof Undefined) return new Undefined('No last item, sequence was empty.')
  const items = backwards(value, run)
  if (items === undefined) throw new TemplateError(`a ${typeName(value)} has no last item`)
  return items.length === 0 ? new Undefined('No last item, sequence was empty.') : items[0]!
}

const reverse: Filter = (value, args, keywords, run) => {
  bind('reverse', [], 0, args, keywords)
  const items = backwards(value, run)
  const text = textOf(value) === undefined ? undefined : items!.map((item) => textOf(item)).join('')
  if (text !== undefined) return value instanceof Markup ? new Markup(text) : text
  return items === undefined ? listOf(value, run).reverse() : new Generator(items[Symbol.iterator](), 'reverseiterator')
}

const batch: Filter = (value, args, keywords, run) => {
  const [linecount, fill = null] = bind('batch', ['linecount', 'fill_with'], 1, args, keywords)
  const size = linecount!
  function* batches(): Iterator<Value> {
    let items: Value[] = []
    for (const item of each(value, run)) {
      if (equals(BigInt(items.length), size, run)) {
        yield items
        items = []
      }
      run.makeList(1)
      items.push(item)
    }
    if (items.length === 0) return
    if (fill !== null) {
      const missing = Math.max(expectSize(size, 'batch') - items.length, 0)
      run.makeList(missing)
      for (let count = 0; count < missing; count++) items.push(fill)
    }
    yield items
  }
  return new Generator(batches())
}

const slice: Filter = (value, args, keywords, run) => {
  const [slices, fill = null] = bind('slice', ['slices', 'fill_with'], 1, args, keywords)
  function* columns(): Iterator<Value> {
    const items = listOf(value, run)
    const count = expectSize(slices!, 'slice')
    if (count === 0) throw new TemplateError('division by zero')
    const size = Math.floor(items.length / count)
    const longer = items.length - size * count
    let start = 0
    for (let column = 0; column < count; column++) {
      const end = start + size + (column < longer ? 1 : 0)
      run.makeList(end - start + 1)
      yield fill !== null && column >= longer ? [...items.slice(start, end), fill] : items.slice(start, end)
      start = end
    }
  }
  return new Generator(columns())
}

const items: Filter = (value, args, keywords) => {
  bind('items', [], 0, args, keywords)
  function* pairs(): Iterator<Value> {
    if (value instanceof Undefined) return
    if (!(value instanceof Dict)) throw new TemplateError('Can only get item pairs from a mapping.')
    for (const pair of value.pairs()) yield new Tuple(pair)
  }
  return new Generator(pairs())
}

const length: Filter = (value, args, keywords, run) => {
  bind('length', [], 0, args, keywords)
  return BigInt(lengthOf(value, run))
}

const list: Filter = (value, args, keywords, run) => {
  bind('list', [], 0, args, keywords)
  return listOf(value, run)
}

const random: Filter = (value, args, keywords, run) => {
  bind('random', [], 0, args, keywords)
  const all = listOf(value, run)
  if (all.length === 0) return new Undefined('No random item, sequence was empty.')
  return all[Math.floor(Math.random() * all.length)]!
}

const fallback: Filter = (value, args, keywords, run) => {
  const [other = '', boolean = false] = bind('default', ['default_value', 'boolean'], 0, args, keywords)
  return value instanceof Undefined || (isTrue(boolean, run) && !isTrue(value, run)) ? other : value
}

/** Jinja2's filters of lists and dicts. */
export const SEQUENCE_FILTERS: readonly (readonly [string, Filter])[] = [
  ['batch', batch],
  ['count', length],
  ['d', fallback],
  ['default', fallback],
  ['dictsort', dictsort],
  ['first', first],
  ['groupby', groupby],
  ['items', items],
  ['join', join],
  ['last', last],
  ['length', length],
  ['list', list],
  ['max', extreme('max')],
  ['min', extreme('min')],
  ['random', random],
  ['reverse', reverse],
  ['slice', slice],
  ['sort', sort],
  ['sum', sum],
  ['unique', unique],
]
