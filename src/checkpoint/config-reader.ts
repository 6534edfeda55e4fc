import { FileError, UnsupportedError } from '../errors.js'

/** Characters of a value that a message shows: a list may have thousands. */
const MOST_SHOWN = 100

/**
 * A JSON object of a checkpoint (config.json, or an object inside it) read field by field: every getter checks the
 * type and names the field in its error. `null` counts as absent, as transformers writes it.
 */
export class ConfigReader {
  readonly path: string
  readonly fields: Readonly<Record<string, unknown>>
  private readonly prefix: string

  constructor(path: string, fields: Readonly<Record<string, unknown>>, prefix = '') {
    this.path = path
    this.fields = fields
    this.prefix = prefix
  }

  has(field: string): boolean {
    return this.fields[field] !== undefined && this.fields[field] !== null
  }

  /** A whole number >= `min`. */
  count(field: string, options: { default?: number; min?: number; max?: number } = {}): number {
    const { min = 1, max = 2 ** 31 - 1 } = options
    const v = this.value(field, options.default)
    if (typeof v !== 'number' || !Number.isSafeInteger(v) || v < min || v > max) {
      throw this.wrong(field, `a whole number from ${min} to ${max}`)
    }
    return v
  }

  number(field: string, options: { default?: number; min?: number } = {}): number {
    const { min = Number.NEGATIVE_INFINITY } = options
    const v = this.value(field, options.default)
    if (typeof v !== 'number' || !Number.isFinite(v) || v < min) {
      throw this.wrong(field, min === Number.NEGATIVE_INFINITY ? 'a number' : `a number >= ${min}`)
    }
    return v
  }

  boolean(field: string, options: { default?: boolean } = {}): boolean {
    const v = this.value(field, options.default)
    if (typeof v !== 'boolean') throw this.wrong(field, 'true or false')
    return v
  }

  string(field: string, options: { default?: string } = {}): string {
    const v = this.value(field, options.default)
    if (typeof v !== 'string') throw this.wrong(field, 'a string')
    return v
  }

  /** A list of finite numbers. */
  numbers(field: string): readonly number[] {
    const v = this.value(field, undefined)
    if (!Array.isArray(v) || !v.every((n) => typeof n === 'number' && Number.isFinite(n))) {
      throw this.wrong(field, 'a list of numbers')
    }
    return v as number[]
  }

  /** The object under this field, or null where it is absent. */
  object(field: string): ConfigReader | null {
    if (!this.has(field)) return null
    const v = this.fields[field]
    if (typeof v !== 'object' || v === null || Array.isArray(v)) throw this.wrong(field, 'an object')
    return new ConfigReader(this.path, v as Record<string, unknown>, `${this.prefix}${field}.`)
  }

  /** Throws unless the field is absent or one of `known`: nothing that changes the result is ignored. */
  only(field: string, known: readonly unknown[]): void {
    if (!this.has(field)) return
    if (!known.includes(this.fields[field])) throw this.unsupported(field)
  }

  unsupported(field: string): UnsupportedError {
    const value = this.fields[field]
    const text = typeof value === 'number' ? String(value) : JSON.stringify(value ?? null)
    const shown = text.length > MOST_SHOWN ? `${text.slice(0, MOST_SHOWN)}…` : text
    return new UnsupportedError(`${this.path}: ${this.prefix}${field} = ${shown} is not supported`)
  }

  private value(field: string, fallback: unknown): unknown {
    if (this.has(field)) return this.fields[field]
    if (fallback === undefined) throw new FileError(this.path, `field ${this.prefix}${field} is missing`)
    return fallback
  }

  private wrong(field: string, expected: string): FileError {
    return new FileError(this.path, `field ${this.prefix}${field} must be ${expected}`)
  }
}
