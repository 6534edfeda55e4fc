import { FileError } from '../errors.js'

/** A value of a JSON file with its place, so that every error names the file and the field. */
export interface Field {
  readonly file: string
  /** `classifiers[0].scaling`; empty for the whole document. */
  readonly name: string
  readonly value: unknown
}

export function wrong(field: Field, expected: string): FileError {
  const { file, name, value } = field
  if (value === undefined) return new FileError(file, `field ${name} is missing`)
  return new FileError(file, `${name === '' ? 'the document' : `field ${name}`} must be ${expected}`)
}

/** The fields of an object that has no others than `known`. */
export function fieldsOf<K extends string>(field: Field, known: readonly K[]): (key: K) => Field {
  const { file, name, value } = field
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(field, 'an object')
  const prefix = name === '' ? '' : `${name}.`
  for (const key of Object.keys(value)) {
    if (!(known as readonly string[]).includes(key)) {
      throw new FileError(file, `unknown field ${prefix}${key}; known: ${known.join(', ')}`)
    }
  }
  const object = value as Readonly<Record<string, unknown>>
  return (key) => ({ file, name: prefix + key, value: Object.hasOwn(object, key) ? object[key] : undefined })
}

export function listOf<T>(field: Field, item: (field: Field) => T, min = 0, max = Number.MAX_SAFE_INTEGER): T[] {
  const { file, name, value } = field
  if (!Array.isArray(value)) throw wrong(field, 'a list')
  if (value.length < min || value.length > max) {
    throw wrong(field, min === max ? `a list of ${min}` : `a list of at least ${min}`)
  }
  return value.map((entry: unknown, i) => item({ file, name: `${name}[${i}]`, value: entry }))
}

export function text(field: Field): string {
  if (typeof field.value !== 'string' || field.value === '') throw wrong(field, 'a text')
  return field.value
}

export function choice<T extends string>(field: Field, choices: readonly T[]): T {
  const found = choices.find((c) => c === field.value)
  if (found === undefined) throw wrong(field, choices.map((c) => JSON.stringify(c)).join(' or '))
  return found
}

export function flag(field: Field): boolean {
  if (typeof field.value !== 'boolean') throw wrong(field, 'true or false')
  return field.value
}

/** A finite number from `min` to `max`; JSON's 1e999 is Infinity and none of them. */
export function number(field: Field, min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY): number {
  const { value } = field
  if (typeof value !== 'number' || !Number.isFinite(value) || value < min || value > max) {
    const range = max === Number.POSITIVE_INFINITY ? ` of at least ${min}` : ` from ${min} to ${max}`
    throw wrong(field, `a number${min === Number.NEGATIVE_INFINITY ? '' : range}`)
  }
  return value
}

export function positive(field: Field): number {
  if (typeof field.value !== 'number' || !Number.isFinite(field.value) || field.value <= 0) {
    throw wrong(field, 'a number greater than 0')
  }
  return field.value
}

export function whole(field: Field, min: number, max = Number.MAX_SAFE_INTEGER): number {
  const { value } = field
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || value > max) {
    throw wrong(
      field,
      `a whole number ${max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`}`,
    )
  }
  return value
}

export function orNull<T>(field: Field, read: (field: Field) => T): T | null {
  return field.value === null ? null : read(field)
}
