import { type Run, TemplateError } from './run.js'
import { Dict, type Value } from './values.js'

/** A template's value of what JSON can hold. */
export function fromJson(value: unknown, run: Run): Value {
  if (value === null || value === undefined) return null
  switch (typeof value) {
    case 'boolean':
    case 'bigint':
    case 'string':
      return value
    case 'number':
      return Number.isInteger(value) ? BigInt(value) : value
    case 'object':
      break
    default:
      throw new TemplateError(`a template takes no ${typeof value}`)
  }
  run.enter()
  let result: Value
  if (Array.isArray(value)) {
    run.makeList(value.length)
    result = value.map((item) => fromJson(item, run))
  } else {
    const dict = new Dict()
    for (const [key, item] of Object.entries(value)) if (item !== undefined) dict.set(key, fromJson(item, run), run)
    result = dict
  }
  run.leave()
  return result
}
