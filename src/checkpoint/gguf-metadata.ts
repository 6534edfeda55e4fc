import { FileError } from '../errors.js'

export type GgufScalarType =
  | 'uint8'
  | 'int8'
  | 'uint16'
  | 'int16'
  | 'uint32'
  | 'int32'
  | 'float32'
  | 'bool'
  | 'string'
  | 'uint64'
  | 'int64'
  | 'float64'

/** A metadata value as the file types it; 64-bit integers are numbers and must be safe ones. */
export type GgufValue =
  | { readonly type: Exclude<GgufScalarType, 'bool' | 'string'>; readonly value: number }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'array'; readonly of: 'string'; readonly value: readonly string[] }
  | { readonly type: 'array'; readonly of: Exclude<GgufScalarType, 'string'>; readonly value: readonly number[] }

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

  strings(key: string): readonly string[] {
    const v = this.require(key)
    if (v.type !== 'array' || v.of !== 'string') throw this.wrong(key, 'a list of strings')
    return v.value
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
