import { UnsupportedError } from '../errors.js'
import { isJsonObject } from '../json.js'
import { type Part, quote } from './fields.js'
import { translate, UntranslatableError } from './oniguruma.js'
import { withTimeLimit } from './time-limit.js'
import { asUnicode16 } from './unicode.js'

/** Finds matches in a text: start and end of each in turn, without overlap. */
export type Pattern = (text: string) => number[]

/** Steps of a search that need no watch over their time. */
const FEW_STEPS = 1e8
const LONGEST_PATTERN = 8192

/** The pattern of a Split or Replace step: `{"String": …}` or `{"Regex": …}`. */
export function readPattern(part: Part): Pattern {
  const value = part.value('pattern')
  if (isJsonObject(value)) {
    if (typeof value.String === 'string') return literalPattern(value.String)
    if (typeof value.Regex === 'string') return regexPattern(part, value.Regex)
  }
  return part.fail('pattern must be {"String": …} or {"Regex": …}')
}

/** The text itself; an empty one matches between all characters. */
export function literalPattern(wanted: string): Pattern {
  if (wanted === '') return (text) => find(/(?:)/gu, text)
  return (text) => {
    const matches: number[] = []
    for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, at + wanted.length)) {
      matches.push(at, at + wanted.length)
    }
    return matches
  }
}

/** Matches of a JavaScript expression with flags `gv` whose time needs no watch. */
export function expressionPattern(expression: RegExp): Pattern {
  return (text) => find(expression, asUnicode16(text))
}

/**
 * An Oniguruma expression. One that takes too long on a text is an error: such expressions can take centuries.
 * Errors: UnsupportedError for what cannot be translated; FileError when a search takes too long.
 */
export function regexPattern(part: Part, pattern: string): Pattern {
  const { expression, degree } = compile(part, pattern)
  return (text) => {
    const search = (): number[] => find(expression, asUnicode16(text))
    const fail = (): never =>
      part.fail(`the pattern ${quote(pattern)} takes too long on a text of ${text.length} characters`)
    try {
      if (Math.max(text.length, 32) ** (degree + 1) < FEW_STEPS) return search()
      return withTimeLimit(1000 + Math.ceil(text.length / 2000), search) ?? fail()
    } catch (error) {
      // Its stack of places to come back to has overflowed, or it is too large once compiled.
      if (error instanceof RangeError || error instanceof SyntaxError) return fail()
      throw error
    }
  }
}

function compile(part: Part, pattern: string): { expression: RegExp; degree: number } {
  if (pattern.length > LONGEST_PATTERN) part.fail(`a pattern is longer than ${LONGEST_PATTERN} characters`)
  try {
    const { source, degree } = translate(pattern)
    return { expression: new RegExp(source, 'gv'), degree }
  } catch (error) {
    if (!(error instanceof UntranslatableError || error instanceof SyntaxError)) throw error
    const what = error instanceof UntranslatableError ? quote(error.message).slice(1, -1) : 'something unknown'
    throw new UnsupportedError(
      `${part.path}: ${part.name}: the pattern ${quote(pattern)} uses ${what}, which is not supported`,
    )
  }
}

/** As Oniguruma's iterator: an empty match right after a match does not count, and the search goes on one character further. */
function find(expression: RegExp, text: string): number[] {
  const matches: number[] = []
  let from = 0
  let last = -1
  while (from <= text.length) {
    expression.lastIndex = from
    const match = expression.exec(text)
    if (match === null) break
    const start = match.index
    const end = start + match[0].length
    if (start === end && end === last) {
      from += (text.codePointAt(from) ?? 0) > 0xffff ? 2 : 1
      continue
    }
    matches.push(start, end)
    from = end
    last = end
  }
  return matches
}
