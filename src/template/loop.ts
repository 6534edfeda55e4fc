import { bind } from './arguments.js'
import { equals, iterate, lengthOf } from './protocols.js'
import { type Run, TemplateError } from './run.js'
import { type Keywords, NativeFunction, TemplateObject, Tuple, Undefined, type Value } from './values.js'

/** The variable `loop`. It looks one item ahead only where it is asked to. */
export class Loop extends TemplateObject {
  readonly typeName = 'LoopContext'
  private readonly items: Iterator<Value>
  private rest: Value[] | undefined
  private ahead: { value: Value } | null = null
  private index0 = -1n
  private before: Value | undefined
  private current: Value | undefined
  private size: bigint | undefined
  private lastChanged: Value | undefined

  constructor(
    private readonly iterable: Value,
    private readonly run: Run,
    private readonly depth0: number,
    /** Renders the loop's body for other items; null where the loop is not recursive. */
    private readonly recurse: ((items: Value, depth0: number) => Value) | null,
  ) {
    super()
    this.items = iterate(iterable, run)
  }

  /** The next item; undefined at the end. */
  next(): Value | undefined {
    const next = this.peek()
    this.ahead = null
    if (next === undefined) return undefined
    this.index0++
    this.before = this.current
    this.current = next
    return next
  }

  private peek(): Value | undefined {
    if (this.ahead !== null) return this.ahead.value
    let value: Value | undefined
    if (this.rest !== undefined) value = this.rest.pop()
    else {
      this.run.spend(1)
      const next = this.items.next()
      value = next.done === true ? undefined : next.value
    }
    if (value !== undefined) this.ahead = { value }
    return value
  }

  private count(): bigint {
    if (this.size !== undefined) return this.size
    if (
      !(this.iterable instanceof TemplateObject) ||
      this.iterable.iterate === undefined ||
      this.iterable.length !== undefined
    ) {
      this.size = BigInt(lengthOf(this.iterable, this.run))
    } else {
      const rest: Value[] = []
      for (let next = this.items.next(); next.done !== true; next = this.items.next()) {
        this.run.makeList(1)
        rest.push(next.value)
      }
      this.rest = rest.reverse()
      this.size = BigInt(rest.length) + this.index0 + 1n + (this.ahead === null ? 0n : 1n)
    }
    return this.size
  }

  override length(): number {
    return Number(this.count())
  }

  override represent(): string {
    return `<LoopContext ${this.index0 + 1n}/${this.count()}>`
  }

  override call(args: readonly Value[], keywords: Keywords, run: Run): Value {
    const [items] = bind('loop', ['iterable'], 1, args, keywords)
    if (this.recurse === null)
      throw new TemplateError("the loop must have the 'recursive' marker to be called recursively")
    run.enter()
    const result = this.recurse(items!, this.depth0 + 1)
    run.leave()
    return result
  }

  override attribute(name: string): Value | undefined {
    switch (name) {
      case 'index':
        return this.index0 + 1n
      case 'index0':
        return this.index0
      case 'first':
        return this.index0 === 0n
      case 'last':
        return this.peek() === undefined
      case 'length':
        return this.count()
      case 'revindex':
        return this.count() - this.index0
      case 'revindex0':
        return this.count() - this.index0 - 1n
      case 'depth':
        return BigInt(this.depth0 + 1)
      case 'depth0':
        return BigInt(this.depth0)
      case 'previtem':
        return this.index0 === 0n ? new Undefined('there is no previous item') : this.before!
      case 'nextitem': {
        const next = this.peek()
        return next === undefined ? new Undefined('there is no next item') : next
      }
      case 'cycle':
        return new NativeFunction(name, (args) => {
          if (args.length === 0) throw new TemplateError('no items for cycling given')
          return args[Number(this.index0 % BigInt(args.length))]!
        })
      case 'changed':
        return new NativeFunction(name, (args, _keywords, run) => {
          const value = new Tuple(args)
          if (this.lastChanged !== undefined && equals(this.lastChanged, value, run)) return false
          this.lastChanged = value
          return true
        })
      default:
        return undefined
    }
  }
}
