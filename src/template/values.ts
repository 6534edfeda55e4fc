import { type Run, TemplateError } from './run.js'

/**
 * Python's values: None is null, int bigint, float number, list an array. Strings are JavaScript's, read by code points.
 * Lists and dicts never change once a template sees them.
 */
export type Value = null | boolean | bigint | number | string | readonly Value[] | TemplateObject

export type Keywords = ReadonlyMap<string, Value>

/** Whatever is not one of JavaScript's own values. Templates reach no property of it but through `attribute`. */
export abstract class TemplateObject {
  /** Python's name of the type. */
  abstract readonly typeName: string

  /** The attribute of that name; undefined where there is none. */
  attribute(_name: string, _run: Run): Value | undefined {
    return undefined
  }

  /** Python's `repr`. */
  represent(_run: Run): string {
    return `<${this.typeName} object>`
  }

  /** A call's result; undefined where it cannot be called. */
  call?(args: readonly Value[], keywords: Keywords, run: Run): Value

  iterate?(run: Run): Iterator<Value>

  /** Python's `len`. */
  length?(run: Run): number

  /** Python's `obj[key]`; undefined where there is no such item. */
  item?(key: Value, run: Run): Value | undefined
}

/** What a name, attribute or item gives that does not exist. It prints as nothing; to work with it is an error. */
export class Undefined extends TemplateObject {
  readonly typeName = 'Undefined'

  constructor(readonly message: string) {
    super()
  }

  override represent(): string {
    return 'Undefined'
  }

  override *iterate(): Iterator<Value> {}

  override length(): number {
    return 0
  }

  fail(): never {
    throw new TemplateError(this.message)
  }
}

/** A string that is HTML already. What it is put together with is escaped first. */
export class Markup extends TemplateObject {
  readonly typeName = 'Markup'

  constructor(readonly text: string) {
    super()
  }
}

export class Tuple extends TemplateObject {
  readonly typeName: string = 'tuple'

  constructor(readonly items: readonly Value[]) {
    super()
  }
}

type Key = string | bigint | number | null | TemplateObject

/** An ordered dict. 1, 1.0 and True are the same key. */
export class Dict extends TemplateObject {
  readonly typeName = 'dict'
  private readonly entries = new Map<Key, readonly [Value, Value]>()

  static of(run: Run, pairs: Iterable<readonly [Value, Value]>): Dict {
    const dict = new Dict()
    for (const [key, value] of pairs) dict.set(key, value, run)
    return dict
  }

  get size(): number {
    return this.entries.size
  }

  get(key: Value, run: Run): Value | undefined {
    return this.entries.get(keyOf(key, run))?.[1]
  }

  /** For keys that are strings. */
  getText(key: string): Value | undefined {
    return this.entries.get(textKey(key))?.[1]
  }

  has(key: Value, run: Run): boolean {
    return this.entries.has(keyOf(key, run))
  }

  /** Only while the dict is made. */
  set(key: Value, value: Value, run: Run): void {
    run.makeList(2)
    const place = keyOf(key, run)
    this.entries.set(place, [this.entries.get(place)?.[0] ?? key, value])
  }

  /** Keys and values in the order of insertion. */
  pairs(): IterableIterator<readonly [Value, Value]> {
    return this.entries.values()
  }
}

function textKey(text: string): string {
  return text.startsWith('\0') ? `\0${text}` : text
}

function keyOf(value: Value, run: Run): Key {
  if (typeof value === 'string') return textKey(value)
  if (value instanceof Markup) return textKey(value.text)
  if (typeof value === 'boolean') return value ? 1n : 0n
  if (typeof value === 'number') return Number.isInteger(value) ? BigInt(value) : value
  if (value === null || typeof value === 'bigint') return value
  if (value instanceof Undefined) return UNDEFINED_KEY
  if (value instanceof Tuple) {
    run.enter()
    const parts = value.items.map((item) => {
      const key = keyOf(item, run)
      if (key instanceof TemplateObject) throw new TemplateError('such a tuple cannot be a key here')
      return `${typeof key}:${typeof key === 'string' ? JSON.stringify(key) : key}`
    })
    run.leave()
    return `\0(${parts.join(',')})`
  }
  if (value instanceof Dict || Array.isArray(value)) throw new TemplateError(`unhashable type: '${typeName(value)}'`)
  return value as TemplateObject
}

const UNDEFINED_KEY = new Undefined('')

/** A function of ours. */
export class NativeFunction extends TemplateObject {
  constructor(
    readonly name: string,
    private readonly body: (args: readonly Value[], keywords: Keywords, run: Run) => Value,
    readonly typeName: string = 'builtin_function_or_method',
  ) {
    super()
  }

  override call(args: readonly Value[], keywords: Keywords, run: Run): Value {
    return this.body(args, keywords, run)
  }

  override represent(): string {
    return `<function ${this.name}>`
  }
}

/** A generator: it is run through once. */
export class Generator extends TemplateObject {
  constructor(
    private readonly items: Iterator<Value>,
    readonly typeName: string = 'generator',
  ) {
    super()
  }

  override iterate(): Iterator<Value> {
    return this.items
  }
}

export class Range extends TemplateObject {
  readonly typeName = 'range'
  readonly count: number

  constructor(
    readonly start: bigint,
    readonly stop: bigint,
    readonly step: bigint,
  ) {
    super()
    const span = step > 0n ? stop - start : start - stop
    const size = step > 0n ? step : -step
    // Python's sandbox has the same limit.
    const count = span <= 0n ? 0n : (span + size - 1n) / size
    if (count > 100_000n) throw new TemplateError('a range has more than 100000 items')
    this.count = Number(count)
  }

  at(index: number): bigint {
    return this.start + BigInt(index) * this.step
  }

  override *iterate(): Iterator<Value> {
    for (let index = 0; index < this.count; index++) yield this.at(index)
  }

  override length(): number {
    return this.count
  }

  override represent(): string {
    return `range(${this.start}, ${this.stop}${this.step === 1n ? '' : `, ${this.step}`})`
  }

  override attribute(name: string): Value | undefined {
    if (name === 'start') return this.start
    if (name === 'stop') return this.stop
    return name === 'step' ? this.step : undefined
  }
}

/** What a dict's `keys`, `values` and `items` give. */
export class DictView extends TemplateObject {
  constructor(
    readonly typeName: 'dict_keys' | 'dict_values' | 'dict_items',
    readonly dict: Dict,
  ) {
    super()
  }

  override *iterate(): Iterator<Value> {
    for (const [key, value] of this.dict.pairs()) {
      if (this.typeName === 'dict_keys') yield key
      else yield this.typeName === 'dict_values' ? value : new Tuple([key, value])
    }
  }

  override length(): number {
    return this.dict.size
  }
}

/** Where a template keeps what changes. */
export class Namespace extends TemplateObject {
  readonly typeName = 'Namespace'
  readonly attributes = new Map<string, Value>()

  override attribute(name: string): Value | undefined {
    return this.attributes.get(name)
  }

  set(name: string, value: Value): void {
    if (name.startsWith('_')) throw new TemplateError(`a namespace has no names that begin with '_' such as '${name}'`)
    this.attributes.set(name, value)
  }
}

export function isList(value: Value): value is readonly Value[] {
  return Array.isArray(value)
}

/** The text of a string, HTML or not. */
export function textOf(value: Value): string | undefined {
  if (typeof value === 'string') return value
  return value instanceof Markup ? value.text : undefined
}

/** Python's `int(value)` for what is an int already; True is 1. */
export function integerOf(value: Value): bigint | undefined {
  if (typeof value === 'bigint') return value
  return typeof value === 'boolean' ? BigInt(value) : undefined
}

export function typeName(value: Value): string {
  if (value === null) return 'NoneType'
  if (typeof value === 'boolean') return 'bool'
  if (typeof value === 'bigint') return 'int'
  if (typeof value === 'number') return 'float'
  if (typeof value === 'string') return 'str'
  return value instanceof TemplateObject ? value.typeName : 'list'
}
