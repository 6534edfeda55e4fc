import { bind } from './arguments.js'
import { binary, compare } from './operators.js'
import { equals, isIterable, isSame } from './protocols.js'
import { toText } from './represent.js'
import type { Run } from './run.js'
import { isLower, isUpper } from './string-methods.js'
import type { Comparison } from './syntax.js'
import {
  Dict,
  isList,
  type Keywords,
  Markup,
  Range,
  TemplateObject,
  Tuple,
  textOf,
  Undefined,
  type Value,
} from './values.js'

export type Test = (value: Value, args: readonly Value[], keywords: Keywords, run: Run) => boolean

/** A test without an argument. */
function plain(test: (value: Value, run: Run) => boolean): Test {
  return (value, args, keywords, run) => {
    bind('the test', [], 0, args, keywords)
    return test(value, run)
  }
}

/** A test with one argument. */
function withOther(name: string, test: (value: Value, other: Value, run: Run) => boolean): Test {
  return (value, args, keywords, run) => test(value, bind('the test', [name], 1, args, keywords)[0]!, run)
}

function comparing(operator: Comparison): Test {
  return withOther('/b', (value, other, run) => compare(operator, value, other, run))
}

function hasRest(value: Value, divisor: Value, rest: bigint, run: Run): boolean {
  return equals(binary('%', value, divisor, run), rest, run)
}

function isSequence(value: Value): boolean {
  if (value instanceof TemplateObject) {
    return [Markup, Tuple, Dict, Range, Undefined].some((type) => value instanceof type)
  }
  return typeof value === 'string' || isList(value)
}

function isCallable(value: Value): boolean {
  return value instanceof TemplateObject && (value instanceof Undefined || value.call !== undefined)
}

/** Jinja2's tests. `filter` and `test` are asked of the names that there are. */
export function createTests(filters: ReadonlySet<string>): ReadonlyMap<string, Test> {
  const tests: Map<string, Test> = new Map<string, Test>([
    ['odd', plain((value, run) => hasRest(value, 2n, 1n, run))],
    ['even', plain((value, run) => hasRest(value, 2n, 0n, run))],
    ['divisibleby', withOther('num', (value, other, run) => hasRest(value, other, 0n, run))],
    ['defined', plain((value) => !(value instanceof Undefined))],
    ['undefined', plain((value) => value instanceof Undefined)],
    ['filter', plain((value) => filters.has(textOf(value) ?? ''))],
    ['test', plain((value) => tests.has(textOf(value) ?? ''))],
    ['none', plain((value) => value === null)],
    ['boolean', plain((value) => typeof value === 'boolean')],
    ['false', plain((value) => value === false)],
    ['true', plain((value) => value === true)],
    ['integer', plain((value) => typeof value === 'bigint')],
    ['float', plain((value) => typeof value === 'number')],
    ['lower', plain((value, run) => isLower(toText(value, run)))],
    ['upper', plain((value, run) => isUpper(toText(value, run)))],
    ['string', plain((value) => textOf(value) !== undefined)],
    ['mapping', plain((value) => value instanceof Dict)],
    ['number', plain((value) => typeof value === 'boolean' || typeof value === 'bigint' || typeof value === 'number')],
    ['sequence', plain(isSequence)],
    ['iterable', plain(isIterable)],
    ['callable', plain(isCallable)],
    ['sameas', withOther('other', isSame)],
    ['escaped', plain((value) => value instanceof Markup)],
    ['in', withOther('seq', (value, seq, run) => compare('in', value, seq, run))],
  ])
  const comparisons: readonly (readonly [Comparison, ...string[]])[] = [
    ['==', 'eq', 'equalto'],
    ['!=', 'ne'],
    ['>', 'gt', 'greaterthan'],
    ['>=', 'ge'],
    ['<', 'lt', 'lessthan'],
    ['<=', 'le'],
  ]
  for (const names of comparisons) for (const name of names) tests.set(name, comparing(names[0]))
  return tests
}
