import { SpecError } from '../errors.js'
import { didYouMean } from '../nearest-name.js'
import { checkPlan, describeLayers, type Plan } from './plan.js'

const NUMBER = /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i
const WHOLE_NUMBER = /^\d+$/
const SPEEDUP = /^(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?x$/i

/** The parts of a SPEC read one by one; every getter checks the value and names the SPEC and the key in its error. */
export class SpecArguments {
  readonly spec: string
  readonly kind: string
  /** Items before the first key: one, or several for a list. */
  private readonly values: readonly string[]
  private readonly options: ReadonlyMap<string, readonly string[]>

  private constructor(spec: string, kind: string, values: readonly string[], options: Map<string, string[]>) {
    this.spec = spec
    this.kind = kind
    this.values = values
    this.options = options
  }

  /**
   * Splits `kind:value,key=value,...`. An item without `=` continues the list before it: `layers:0,2,5` and
   * `gap:0.8,layers=3,5` have lists of their own commas. What the parts mean is left to the policy.
   */
  static split(spec: string): SpecArguments {
    const colon = spec.indexOf(':')
    // `full,prompt=plan`: a kind that takes no value may still be followed by keys.
    const end = colon >= 0 ? colon : spec.includes(',') ? spec.indexOf(',') : spec.length
    const kind = spec.slice(0, end).trim()
    const values: string[] = []
    const options = new Map<string, string[]>()
    let list = values
    const rest = spec.slice(end + 1)
    if (rest.trim() === '' && end < spec.length)
      throw new SpecError(`depth ${JSON.stringify(spec)}: nothing follows "${spec[end]}"`)
    for (const item of rest === '' ? [] : rest.split(',')) {
      const equals = item.indexOf('=')
      const value = item.slice(equals + 1).trim()
      if (equals >= 0) {
        const key = item.slice(0, equals).trim()
        if (options.has(key)) throw new SpecError(`depth ${JSON.stringify(spec)}: ${JSON.stringify(key)} stands twice`)
        list = []
        options.set(key, list)
      }
      if (value === '') {
        throw new SpecError(
          `depth ${JSON.stringify(spec)}: ${equals >= 0 ? `${JSON.stringify(item.trim())} has no value` : 'a value is missing'}`,
        )
      }
      list.push(value)
    }
    return new SpecArguments(spec, kind, values, options)
  }

  /** Throws unless every key is one of `known`. */
  only(known: readonly string[]): void {
    for (const key of this.options.keys()) {
      if (known.includes(key)) continue
      const names = known.length === 0 ? 'it has none' : `known: ${known.join(', ')}${didYouMean(key, known)}`
      throw this.error(`unknown key ${JSON.stringify(key)} for ${this.kind}; ${names}`)
    }
  }

  has(key: string): boolean {
    return this.options.has(key)
  }

  /** Throws where the kind is followed by a value. */
  noValue(): void {
    if (this.values.length > 0) throw this.error(`${this.kind} takes no value`)
  }

  /** The value behind the kind as it stands; `meaning` and `example` make the message. */
  text(meaning: string, example: string): string {
    const [value, more] = this.values
    if (value === undefined) throw this.error(`${meaning} is missing, e.g. ${example}`)
    if (more !== undefined)
      throw this.error(`${this.kind} takes one value, and ${JSON.stringify(more)} is no key=value`)
    return value
  }

  /** The number behind the kind, from `min` to `max`. */
  number(meaning: string, example: string, min: number, max: number): number {
    const value = this.text(meaning, example)
    if (!NUMBER.test(value) || !(Number(value) >= min && Number(value) <= max)) {
      throw this.error(`${meaning} must be a number from ${min} to ${max}, not ${JSON.stringify(value)}`)
    }
    return Number(value) + 0
  }

  /** The whole number behind the kind, from `min` to `max`. */
  whole(meaning: string, example: string, min: number, max = Number.MAX_SAFE_INTEGER): number {
    return this.asWhole(this.text(meaning, example), meaning, min, max)
  }

  /** The target speedup behind the kind: a number from 1 with an x. */
  speedup(example: string): number {
    const value = this.text('the target speedup', example)
    const target = SPEEDUP.test(value) ? Number(value.slice(0, -1)) : Number.NaN
    if (!(target >= 1 && Number.isFinite(target))) {
      throw this.error(`the target speedup must be a number from 1 with an x, e.g. ${example}`)
    }
    return target
  }

  /** The layer behind the kind. */
  layer(layers: number, example: string): number {
    return this.asLayer(this.text('the layer', example), layers)
  }

  /** The list of layers behind the kind. */
  layerList(layers: number, example: string): Plan {
    if (this.values.length === 0) throw this.error(`the list of layers is missing, e.g. ${example}`)
    return this.asLayers(this.values, layers)
  }

  layerOption(key: string, layers: number, fallback: number): number {
    const value = this.option(key)
    return value === null ? fallback : this.asLayer(value, layers, `${key}=`)
  }

  layersOption(key: string, layers: number): Plan | null {
    const values = this.options.get(key)
    return values === undefined ? null : this.asLayers(values, layers, `${key}=`)
  }

  /** A whole number, or null where the key is absent. */
  wholeOption(key: string, min: number, max = Number.MAX_SAFE_INTEGER): number | null {
    const value = this.option(key)
    return value === null ? null : this.asWhole(value, `${key}=`, min, max)
  }

  /** Any finite number, or null where the key is absent. */
  numberOption(key: string): number | null {
    const value = this.option(key)
    if (value === null) return null
    if (!NUMBER.test(value) || !Number.isFinite(Number(value))) {
      throw this.error(`${key}= must be a number, not ${JSON.stringify(value)}`)
    }
    return Number(value) + 0
  }

  /** Any text, or null where the key is absent. */
  textOption(key: string): string | null {
    return this.option(key)
  }

  choice<T extends string>(key: string, choices: readonly T[], fallback: T): T {
    const value = this.option(key)
    if (value === null) return fallback
    const choice = choices.find((c) => c === value)
    if (choice === undefined) throw this.error(`${key}= must be ${choices.join(' or ')}, not ${JSON.stringify(value)}`)
    return choice
  }

  error(reason: string): SpecError {
    return new SpecError(`depth ${JSON.stringify(this.spec)}: ${reason}`)
  }

  private option(key: string): string | null {
    const values = this.options.get(key)
    if (values === undefined) return null
    if (values.length > 1) throw this.error(`${key}= takes one value, and ${JSON.stringify(values[1])} is no key=value`)
    return values[0]!
  }

  private asWhole(text: string, what: string, min: number, max: number): number {
    const value = Number(text)
    if (!WHOLE_NUMBER.test(text) || !Number.isSafeInteger(value) || value < min || value > max) {
      const range = max === Number.MAX_SAFE_INTEGER ? `from ${min}` : min === max ? `${min}` : `from ${min} to ${max}`
      throw this.error(`${what} must be a whole number ${range}, not ${JSON.stringify(text)}`)
    }
    return value
  }

  private asLayers(values: readonly string[], layers: number, where = ''): Plan {
    const plan = values.map((value) => this.asLayer(value, layers, where))
    checkPlan(plan, layers, `depth ${JSON.stringify(this.spec)}`)
    return plan
  }

  private asLayer(value: string, layers: number, where = ''): number {
    if (!WHOLE_NUMBER.test(value))
      throw this.error(`${where}${where ? ' ' : ''}${JSON.stringify(value)} is not a layer`)
    const layer = Number(value)
    if (layer >= layers) throw this.error(`layer ${value} does not exist; ${describeLayers(layers)}`)
    return layer
  }
}
