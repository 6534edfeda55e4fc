import { bind } from './arguments.js'
import { formatMethod } from './format.js'
import { each, equals } from './protocols.js'
import { type Run, TemplateError } from './run.js'
import { stringMethod } from './string-methods.js'
import { characterAt } from './text.js'
import {
  Dict,
  DictView,
  integerOf,
  isList,
  Markup,
  Namespace,
  NativeFunction,
  Range,
  TemplateObject,
  Tuple,
  textOf,
  typeName,
  Undefined,
  type Value,
} from './values.js'

const CHANGES_LIST: ReadonlySet<string> = new Set([
  'append',
  'clear',
  'pop',
  'reverse',
  'insert',
  'sort',
  'extend',
  'remove',
])
const CHANGES_DICT: ReadonlySet<string> = new Set(['clear', 'pop', 'popitem', 'setdefault', 'update'])

/** Jinja2's `value.name`: the attribute or else the item of that name. */
export function attributeOf(value: Value, name: string, run: Run): Value {
  if (value instanceof Undefined) value.fail()
  const attribute = pythonAttribute(value, name, run)
  if (attribute !== undefined) return attribute
  const found = item(value, name, run)
  return found === undefined ? missing(value, name) : found
}

/** Jinja2's `value[key]`: the item or else, where the key is a string, the attribute of that name. */
export function itemOf(value: Value, key: Value, run: Run): Value {
  if (value instanceof Undefined) value.fail()
  const found = item(value, key, run)
  if (found !== undefined) return found
  const name = textOf(key)
  if (name !== undefined) {
    const attribute = pythonAttribute(value, name, run)
    return attribute === undefined ? missing(value, name) : attribute
  }
  return new Undefined(`${described(value)} has no element ${typeof key === 'bigint' ? key : `of a ${typeName(key)}`}`)
}

/** Python's `getattr`, without what the sandbox keeps back: that is undefined and tells so when it is used. */
export function pythonAttribute(value: Value, name: string, run: Run): Value | undefined {
  if (name.startsWith('__') && name.endsWith('__') && !(value instanceof Namespace)) {
    const has = value instanceof Dict && value.getText(name) !== undefined
    return has ? undefined : unsafe(value, name)
  }
  if (typeof value === 'string' || value instanceof Markup) {
    return formatMethod(value, name, { attributeOf, itemOf }) ?? stringMethod(value, name)
  }
  if (isList(value)) return CHANGES_LIST.has(name) ? unsafe(value, name) : sequenceMethod(value, value, name)
  if (value instanceof Tuple) {
    const attribute = value.attribute(name, run)
    return attribute === undefined ? sequenceMethod(value, value.items, name) : attribute
  }
  if (value instanceof Dict) return CHANGES_DICT.has(name) ? unsafe(value, name) : dictMethod(value, name)
  if (value instanceof Range && (name === 'index' || name === 'count')) {
    return sequenceMethod(value, [...each(value, run)], name)
  }
  if (value instanceof DictView) return undefined
  if (value instanceof TemplateObject) return value.attribute(name, run)
  return numberAttribute(value, name)
}

function missing(value: Value, name: string): Undefined {
  return new Undefined(`'${described(value)}' has no attribute '${name}'`)
}

function described(value: Value): string {
  return value === null ? 'None' : `${typeName(value)} object`
}

function unsafe(value: Value, name: string): Undefined {
  return new Undefined(`access to attribute '${name}' of '${typeName(value)}' object is unsafe`)
}

function item(value: Value, key: Value, run: Run): Value | undefined {
  if (value instanceof Dict) {
    // Python raises TypeError for what has no hash, which Jinja2 takes as a missing item.
    return isHashable(key) ? value.get(key, run) : undefined
  }
  const index = integerOf(key)
  if (index === undefined) return value instanceof TemplateObject ? value.item?.(key, run) : undefined
  const text = textOf(value)
  if (text !== undefined) {
    const character = characterAt(text, index, run)
    return value instanceof Markup && character !== undefined ? new Markup(character) : character
  }
  if (value instanceof Range) {
    const at = index < 0n ? index + BigInt(value.count) : index
    return at < 0n || at >= BigInt(value.count) ? undefined : value.at(Number(at))
  }
  const items = isList(value) ? value : value instanceof Tuple ? value.items : undefined
  if (items === undefined) return undefined
  const at = index < 0n ? index + BigInt(items.length) : index
  return at < 0n || at > BigInt(items.length) ? undefined : items[Number(at)]
}

function isHashable(key: Value): boolean {
  if (key instanceof Tuple) return key.items.every(isHashable)
  return !isList(key) && !(key instanceof Dict) && !(key instanceof DictView && key.typeName !== 'dict_values')
}

function sequenceMethod(self: Value, items: readonly Value[], name: string): Value | undefined {
  switch (name) {
    case 'index':
      return new NativeFunction(name, (args, keywords, run) => {
        const [wanted, start = 0n, stop = BigInt(items.length)] = bind(
          name,
          ['/value', '/start', '/stop'],
          1,
          args,
          keywords,
        )
        const place = (value: Value): number => {
          const at = integerOf(value) ?? 0n
          return Number(at < 0n ? at + BigInt(items.length) : at)
        }
        run.spend(items.length)
        const end = Math.min(place(stop), items.length)
        for (let at = Math.max(place(start), 0); at < end; at++) {
          if (equals(items[at]!, wanted!, run)) return BigInt(at)
        }
        throw new TemplateError(`the value is not in the ${typeName(self)}`)
      })
    case 'count':
      return new NativeFunction(name, (args, keywords, run) => {
        const [wanted] = bind(name, ['/value'], 1, args, keywords)
        run.spend(items.length)
        return BigInt(items.filter((candidate) => equals(candidate, wanted!, run)).length)
      })
    case 'copy':
      if (!isList(self)) return undefined
      return new NativeFunction(name, (_args, _keywords, run) => {
        run.makeList(items.length)
        return [...items]
      })
    default:
      return undefined
  }
}

function dictMethod(self: Dict, name: string): Value | undefined {
  switch (name) {
    case 'keys':
    case 'values':
    case 'items':
      return new NativeFunction(name, (args, keywords) => {
        bind(name, [], 0, args, keywords)
        return new DictView(`dict_${name}`, self)
      })
    case 'get':
      return new NativeFunction(name, (args, keywords, run) => {
        const [key, fallback = null] = bind(name, ['/key', '/default'], 1, args, keywords)
        const found = self.get(key!, run)
        return found === undefined ? fallback : found
      })
    case 'copy':
      return new NativeFunction(name, (_args, _keywords, run) => Dict.of(run, self.pairs()))
    case 'fromkeys':
      return new NativeFunction(name, dictFromKeys)
    default:
      return undefined
  }
}

/** Python's `dict.fromkeys`. */
export function dictFromKeys(args: readonly Value[], keywords: ReadonlyMap<string, Value>, run: Run): Value {
  const [keys, value = null] = bind('fromkeys', ['/iterable', '/value'], 1, args, keywords)
  const dict = new Dict()
  for (const key of each(keys!, run)) dict.set(key, value, run)
  return dict
}

function numberAttribute(
  value: Exclude<Value, string | readonly Value[] | TemplateObject>,
  name: string,
): Value | undefined {
  if (value === null) return undefined
  const integer = integerOf(value)
  switch (name) {
    case 'real':
      return integer ?? value
    case 'imag':
      return integer === undefined ? 0 : 0n
    case 'conjugate':
      return new NativeFunction(name, () => integer ?? value)
    case 'numerator':
      return integer
    case 'denominator':
      return integer === undefined ? undefined : 1n
    case 'bit_length':
      if (integer === undefined) return undefined
      return new NativeFunction(name, () => (integer === 0n ? 0n : BigInt(integer.toString(2).replace('-', '').length)))
    case 'is_integer':
      return typeof value === 'number' ? new NativeFunction(name, () => Number.isInteger(value)) : undefined
    default:
      return undefined
  }
}
