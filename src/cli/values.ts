import { InvalidArgumentError, Option } from 'commander'

/** Parsers of option values for commander; what they throw ends the process with 2. */

export function wholeNumber(min: number, max = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
    if (!(value >= min && value <= max)) {
      const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`
      throw new InvalidArgumentError(`It must be a whole number ${range}.`)
    }
    return value
  }
}

export function decimal(min: number, max = Number.POSITIVE_INFINITY): (text: string) => number {
  return (text) => {
    const value = /^-?\d*\.?\d+(e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN
    if (!(value >= min && value <= max)) {
      const upward = min === Number.NEGATIVE_INFINITY ? '' : ` of at least ${min}`
      const range = max === Number.POSITIVE_INFINITY ? upward : ` from ${min} to ${max}`
      throw new InvalidArgumentError(`It must be a number${range}.`)
    }
    return value
  }
}

const UNITS: Readonly<Record<string, number>> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 }

/** Bytes, such as `512M`, `1.5G` or `2GiB`: units are powers of 1,024. */
export function byteSize(text: string): number {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?)\s*(?:([kmgt])(?:i?b)?|b)?$/i.exec(text.trim()) ?? []
  const bytes = Math.round(Number(number) * (UNITS[unit.toLowerCase()] as number))
  if (!(bytes >= 1 && bytes <= Number.MAX_SAFE_INTEGER)) {
    throw new InvalidArgumentError('It must be a size such as 512M or 2G.')
  }
  return bytes
}

/** `2,5,7`. */
export function tokenIds(text: string): number[] {
  const ids = text.split(/[\s,]+/).filter((part) => part !== '')
  if (ids.length === 0 || !ids.every((id) => /^\d{1,10}$/.test(id))) {
    throw new InvalidArgumentError('It must be token ids such as 2,5,7.')
  }
  return ids.map(Number)
}

export function numberList(text: string): number[] {
  return text.split(',').map((part) => wholeNumber(1)(part.trim()))
}

/** An option that may be given several times; its value is an array. */
export function repeatable(
  flags: string,
  description: string,
  parse: (text: string) => unknown = (text) => text,
): Option {
  return new Option(flags, `${description} (may be given several times)`).argParser(
    (text: string, before: readonly unknown[] | undefined) => [...(before ?? []), parse(text)],
  )
}

/** An option whose value is a list with commas, shown so in the help too. */
export function listOption<T>(flags: string, description: string, parse: (text: string) => T[], standard: T[]): Option {
  return new Option(flags, description).argParser(parse).default(standard, standard.join(','))
}

/** Numbers of examples before a question, such as `0,5,10`. */
export function shotList(text: string): number[] {
  const counts = text.split(',').map((part) => wholeNumber(0, 1000)(part.trim()))
  if (new Set(counts).size < counts.length) throw new InvalidArgumentError('No number may be there twice.')
  return counts
}
