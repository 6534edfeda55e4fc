import { dictFromKeys } from './access.js'
import { bind, expectInteger, expectText } from './arguments.js'
import { each, listOf } from './protocols.js'
import { toText } from './represent.js'
import { type Run, TemplateError } from './run.js'
import { strftime } from './strftime.js'
import {
  Dict,
  type Keywords,
  Namespace,
  NativeFunction,
  Range,
  TemplateObject,
  Tuple,
  Undefined,
  type Value,
} from './values.js'

function range(args: readonly Value[], keywords: Keywords): Value {
  bind('range', ['/start', '/stop', '/step'], 1, args, keywords)
  const [start, stop, step = 1n] = (args.length === 1 ? [0n, args[0]!] : args).map((arg) => expectInteger(arg, 'range'))
  if (step === 0n) throw new TemplateError('the step of a range is zero')
  return new Range(start!, stop!, step)
}

/** Python's `dict(…)`: of a dict or pairs, and of names. */
function dict(args: readonly Value[], keywords: Keywords, run: Run): Dict {
  if (args.length > 1) throw new TemplateError('dict takes at most one argument without a name')
  const result = new Dict()
  const [given] = args
  if (given instanceof Dict) for (const [key, value] of given.pairs()) result.set(key, value, run)
  else if (given !== undefined) {
    for (const pair of each(given, run)) {
      const items = listOf(pair, run)
      if (items.length !== 2) throw new TemplateError('dict takes pairs')
      result.set(items[0]!, items[1]!, run)
    }
  }
  for (const [key, value] of keywords) result.set(key, value, run)
  return result
}

class DictType extends TemplateObject {
  readonly typeName = 'TemplateDict'

  override call(args: readonly Value[], keywords: Keywords, run: Run): Value {
    return dict(args, keywords, run)
  }

  override attribute(name: string): Value | undefined {
    return name === 'fromkeys' ? new NativeFunction(name, dictFromKeys) : undefined
  }
}

function namespace(args: readonly Value[], keywords: Keywords, run: Run): Value {
  const result = new Namespace()
  for (const [key, value] of dict(args, keywords, run).pairs()) result.set(toText(key, run), value)
  return result
}

class Cycler extends TemplateObject {
  readonly typeName = 'Cycler'
  private position = 0

  constructor(private readonly items: readonly Value[]) {
    super()
    if (items.length === 0) throw new TemplateError('at least one item has to be provided')
  }

  override attribute(name: string): Value | undefined {
    switch (name) {
      case 'current':
        return this.items[this.position]!
      case 'items':
        return new Tuple(this.items)
      case 'pos':
        return BigInt(this.position)
      case 'next':
        return new NativeFunction(name, () => {
          const item = this.items[this.position]!
          this.position = (this.position + 1) % this.items.length
          return item
        })
      case 'reset':
        return new NativeFunction(name, () => {
          this.position = 0
          return null
        })
      default:
        return undefined
    }
  }
}

class Joiner extends TemplateObject {
  readonly typeName = 'Joiner'
  private used = false

  constructor(private readonly separator: Value) {
    super()
  }

  override call(): Value {
    const result = this.used ? this.separator : ''
    this.used = true
    return result
  }

  override attribute(name: string): Value | undefined {
    if (name === 'sep') return this.separator
    return name === 'used' ? this.used : undefined
  }
}

function joiner(args: readonly Value[], keywords: Keywords): Value {
  const [separator = ', '] = bind('joiner', ['sep'], 0, args, keywords)
  return new Joiner(separator)
}

function raiseException(args: readonly Value[], keywords: Keywords, run: Run): Value {
  const [message] = bind('raise_exception', ['message'], 1, args, keywords)
  throw new TemplateError(toText(message!, run))
}

function strftimeNow(args: readonly Value[], keywords: Keywords, run: Run): Value {
  const [format] = bind('strftime_now', ['format'], 1, args, keywords)
  if (format instanceof Undefined) format.fail()
  return strftime(run.now(), expectText(format!, 'strftime_now'), run)
}

const TYPE = 'type'

/** What every template can use by name. */
export const GLOBALS: ReadonlyMap<string, Value> = new Map<string, Value>([
  ['range', new NativeFunction('range', range)],
  ['dict', new DictType()],
  ['namespace', new NativeFunction('namespace', namespace, TYPE)],
  ['cycler', new NativeFunction('cycler', (args) => new Cycler(args), TYPE)],
  ['joiner', new NativeFunction('joiner', joiner, TYPE)],
  [
    'lipsum',
    new NativeFunction('lipsum', () => {
      throw new TemplateError("'lipsum' is not supported")
    }),
  ],
  ['raise_exception', new NativeFunction('raise_exception', raiseException)],
  ['strftime_now', new NativeFunction('strftime_now', strftimeNow)],
])
