import { FileError, UnsupportedError } from '../errors.js'
import { isJsonObject, type JsonObject } from '../json.js'

/** How deep sequences of parts may lie within each other. */
const DEEPEST = 16

/** The longest token that texts are searched for: each place of a text is looked at up to this length. */
export const LONGEST_TOKEN = 1024

/** One part of a tokenizer.json (its normalizer, say) with checked access to its fields. Errors: FileError. */
export class Part {
  readonly path: string
  /** Where in the file, such as `pre_tokenizer`. */
  readonly name: string
  readonly #fields: JsonObject
  readonly #depth: number

  constructor(path: string, name: string, fields: unknown, depth = 0) {
    this.path = path
    this.name = name
    this.#depth = depth
    if (depth > DEEPEST) this.fail('lies too deep')
    this.#fields = isJsonObject(fields) ? fields : this.fail('is not an object')
  }

  get type(): string {
    return this.string('type')
  }

  value(key: string): unknown {
    return Object.hasOwn(this.#fields, key) ? this.#fields[key] : undefined
  }

  /** At most as long as the longest token, so that what is put into a text cannot blow it up. */
  string(key: string): string {
    return this.optionalString(key) ?? this.fail(`has no ${key}`)
  }

  longString(key: string): string {
    const value = this.value(key)
    return typeof value === 'string' ? value : this.fail(`${key} is not a string`)
  }

  optionalString(key: string): string | null {
    const value = this.value(key) ?? null
    if (value !== null && typeof value !== 'string') return this.fail(`${key} is not a string`)
    return value === null || value.length <= LONGEST_TOKEN ? value : this.fail(`${key} is too long`)
  }

  /** One code point. */
  character(key: string): string {
    const value = this.string(key)
    return Array.from(value).length === 1 ? value : this.fail(`${key} is not one character`)
  }

  boolean(key: string, absent?: boolean): boolean {
    const value = this.value(key) ?? absent
    return typeof value === 'boolean' ? value : this.fail(`${key} is not true or false`)
  }

  count(key: string): number {
    const value = this.value(key)
    return isId(value) ? value : this.fail(`${key} is not a count`)
  }

  list(key: string): readonly unknown[] {
    const value = this.value(key)
    return Array.isArray(value) ? value : this.fail(`${key} is not a list`)
  }

  /** The parts of a sequence. */
  parts(key: string): Part[] {
    return this.list(key).map((part) => new Part(this.path, this.name, part, this.#depth + 1))
  }

  fail(reason: string): never {
    throw new FileError(this.path, `${this.name}: ${reason}`)
  }

  unsupported(what: string): never {
    throw new UnsupportedError(`${this.path}: ${this.name}: ${what} is not supported`)
  }
}

/** The part under a top key, or null where there is none. */
export function optionalPart(path: string, json: JsonObject, key: string): Part | null {
  const value = json[key] ?? null
  return value === null ? null : new Part(path, key, value)
}

export function isId(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** 31
}

/** A short quotation for a message: what does not print is escaped. */
export function quote(text: string): string {
  const short = text.length > 48 ? `${text.slice(0, 48)}…` : text
  return JSON.stringify(short).replace(
    /[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/gu,
    (c) => `\\u{${c.codePointAt(0)?.toString(16)}}`,
  )
}
