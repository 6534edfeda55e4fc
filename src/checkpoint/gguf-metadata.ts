import { FileError } from '../errors.js'
import { listLength, stringAt } from './gguf-list.js'
import type { GgufValue } from './gguf-value.js'

/** Key and value pairs of a GGUF file, in file order. The typed getters throw a FileError that names the key. */
export class GgufMetadata {
  readonly path: string
  readonly values: Map<string, GgufValue>

  constructor(path = '', values: Iterable<readonly [string, GgufValue]> = []) {
    this.path = path
    this.values = new Map(values)
  }

  has(key: string): boolean {
    return this.values.has(key)
  }

  string(key: string): string {
    const v = this.require(key)
    if (v.type !== 'string') throw this.wrong(key, 'a string')
    return v.value
  }

  /** A whole number >= 0. */
  count(key: string): number {
    const v = this.number(key)
    if (!Number.isSafeInteger(v) || v < 0) throw this.wrong(key, 'a whole number >= 0')
    return v
  }

  /** A finite number, at least `min`. */
  number(key: string, min = Number.NEGATIVE_INFINITY): number {
    const v = this.require(key)
    if (v.type === 'string' || v.type === 'bool' || v.type === 'array') throw this.wrong(key, 'a number')
    if (typeof v.value === 'bigint') throw this.wrong(key, 'a number below 2^53')
    if (!Number.isFinite(v.value) || v.value < min) {
      throw this.wrong(key, min === Number.NEGATIVE_INFINITY ? 'a finite number' : `a number >= ${min}`)
    }
    return v.value
  }

  boolean(key: string): boolean {
    const v = this.require(key)
    if (v.type !== 'bool') throw this.wrong(key, 'true or false')
    return v.value
  }

  /** All strings of a list; of one that is long and comes from a file, `stringAt` and `length` cost less. */
  strings(key: string): readonly string[] {
    return this.list(key).value
  }

  /** One string of a list, or null where the list is shorter. */
  stringAt(key: string, index: number): string | null {
    return stringAt(this.list(key), index)
  }

  /** How many strings a list has. */
  length(key: string): number {
    return listLength(this.list(key))
  }

  /** True where the value is a list. */
  isList(key: string): boolean {
    return this.values.get(key)?.type === 'array'
  }

  /** Whole numbers >= 0, one for each of `layers` layers. */
  counts(key: string, layers: number): readonly number[] {
    const list = this.listOfLayers(key, layers)
    if (!list.every((n) => Number.isSafeInteger(n) && n >= 0)) throw this.wrong(key, 'whole numbers >= 0')
    return list
  }

  /** Finite numbers, one for each of `layers` layers; one for all of them may stand alone. */
  numbers(key: string, layers: number): readonly number[] {
    if (!this.isList(key)) return Array.from({ length: layers }, () => this.number(key))
    const list = this.listOfLayers(key, layers)
    if (!list.every(Number.isFinite)) throw this.wrong(key, 'finite numbers')
    return list
  }

  /** Yes or no for each of `layers` layers. */
  flags(key: string, layers: number): boolean[] {
    return this.listOfLayers(key, layers).map((value) => value !== 0)
  }

  private listOfLayers(key: string, layers: number): readonly number[] {
    const v = this.require(key)
    if (v.type !== 'array' || v.of === 'string' || v.value.length !== layers) {
      throw this.wrong(key, `one number for each of the ${layers} layers`)
    }
    return v.value
  }

  private list(key: string): Extract<GgufValue, { readonly of: 'string' }> {
    const v = this.require(key)
    if (v.type !== 'array' || v.of !== 'string') throw this.wrong(key, 'a list of strings')
    return v
  }

  private require(key: string): GgufValue {
    const v = this.values.get(key)
    if (v === undefined) throw new FileError(this.path, `metadata key ${key} is missing`)
    return v
  }

  private wrong(key: string, expected: string): FileError {
    return new FileError(this.path, `metadata key ${key} must be ${expected}`)
  }
}
