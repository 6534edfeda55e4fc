import { InvalidArgumentError } from 'commander'

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

/** For an option that may be given several times. */
export function collect(value: string, before: string[] | undefined): string[] {
  return [...(before ?? []), value]
}
