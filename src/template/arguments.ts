import { TemplateError } from './run.js'
import { integerOf, type Keywords, textOf, typeName, type Value } from './values.js'

/**
 * The arguments of a call in the order of the parameters; undefined where one was left out.
 * @param parameters names; those that begin with '/' are not given by name
 * @param required how many of them, from the first, have no default value
 */
export function bind(
  callee: string,
  parameters: readonly string[],
  required: number,
  args: readonly Value[],
  keywords: Keywords,
): (Value | undefined)[] {
  if (args.length > parameters.length) {
    throw new TemplateError(`${callee} takes at most ${parameters.length} arguments, and ${args.length} are given`)
  }
  const bound: (Value | undefined)[] = parameters.map((_, index) => args[index])
  for (const [name, value] of keywords) {
    const index = parameters.indexOf(name)
    if (index < 0) throw new TemplateError(`${callee} has no argument '${name}'`)
    if (index < args.length) throw new TemplateError(`${callee} is given its argument '${name}' twice`)
    bound[index] = value
  }
  for (let index = 0; index < required; index++) {
    if (bound[index] === undefined) {
      throw new TemplateError(`${callee} lacks its argument '${parameters[index]!.replace('/', '')}'`)
    }
  }
  return bound
}

export function expectText(value: Value, what: string): string {
  const text = textOf(value)
  if (text === undefined) throw new TemplateError(`${what} takes a string, not a ${typeName(value)}`)
  return text
}

export function expectInteger(value: Value, what: string): bigint {
  const integer = integerOf(value)
  if (integer === undefined) throw new TemplateError(`${what} takes an integer, not a ${typeName(value)}`)
  return integer
}

/** An integer that sizes something: beyond 2^31 all are alike. */
export function expectSize(value: Value, what: string): number {
  const integer = expectInteger(value, what)
  const limit = 1n << 31n
  return Number(integer > limit ? limit : integer < -limit ? -limit : integer)
}
