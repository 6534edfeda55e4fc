import { bind } from './arguments.js'
import { each, isTrue } from './protocols.js'
import { type Run, TemplateError } from './run.js'
import { attributeGetter, type Filter, SEQUENCE_FILTERS } from './sequence-filters.js'
import { createTests, type Test } from './tests.js'
import { TEXT_FILTERS } from './text-filters.js'
import { Generator, type Keywords, textOf, type Value } from './values.js'

/** Those of Jinja2 that no chat template needs. */
const LACKING = ['pprint', 'urlize', 'wordwrap']

const lacking = LACKING.map((name): readonly [string, Filter] => [
  name,
  () => {
    throw new TemplateError(`the filter '${name}' is not supported`)
  },
])

const map: Filter = (value, args, keywords, run) => {
  function* items(): Iterator<Value> {
    if (!isTrue(value, run)) return
    const change = mapper(args, keywords, run)
    for (const item of each(value, run)) yield change(item)
  }
  return new Generator(items())
}

function mapper(args: readonly Value[], keywords: Keywords, run: Run): (value: Value) => Value {
  if (args.length === 0 && keywords.has('attribute')) {
    const [attribute, fallback] = bind('map', ['attribute', 'default'], 1, [], keywords)
    return attributeGetter(attribute, run, fallback)
  }
  const [name, ...rest] = args
  if (name === undefined) throw new TemplateError('map requires a filter argument')
  const filter = FILTERS.get(textOf(name) ?? '')
  if (filter === undefined) throw new TemplateError(`there is no filter '${textOf(name) ?? '?'}'`)
  return (value) => filter(value, rest, keywords, run)
}

/** select, reject and the same by an attribute. */
function choosing(wanted: boolean, byAttribute: boolean): Filter {
  return (value, args, keywords, run) => {
    function* items(): Iterator<Value> {
      if (!isTrue(value, run)) return
      if (byAttribute && args.length === 0) throw new TemplateError('Missing parameter for attribute name')
      const get = byAttribute ? attributeGetter(args[0], run) : (item: Value) => item
      const [name, ...rest] = byAttribute ? args.slice(1) : args
      const test = name === undefined ? undefined : findTest(name)
      for (const item of each(value, run)) {
        const tested = get(item)
        const found = test === undefined ? isTrue(tested, run) : test(tested, rest, keywords, run)
        if (found === wanted) yield item
      }
    }
    return new Generator(items())
  }
}

function findTest(name: Value): Test {
  const test = TESTS.get(textOf(name) ?? '')
  if (test === undefined) throw new TemplateError(`there is no test '${textOf(name) ?? '?'}'`)
  return test
}

export const FILTERS: ReadonlyMap<string, Filter> = new Map([
  ...SEQUENCE_FILTERS,
  ...TEXT_FILTERS,
  ...lacking,
  ['map', map],
  ['reject', choosing(false, false)],
  ['rejectattr', choosing(false, true)],
  ['select', choosing(true, false)],
  ['selectattr', choosing(true, true)],
])

export const TESTS: ReadonlyMap<string, Test> = createTests(new Set(FILTERS.keys()))
