import { attributeOf, itemOf } from './access.js'
import { FILTERS, TESTS } from './filters.js'
import { escapeHtml } from './html.js'
import { binary, compare, negate, positive, slice } from './operators.js'
import { each, isTrue, listOf } from './protocols.js'
import { toText } from './represent.js'
import { type Run, TemplateError } from './run.js'
import type { Scope } from './scope.js'
import type { Arguments, Call, Expression, Filter, Target } from './syntax.js'
import {
  Dict,
  type Keywords,
  Markup,
  Namespace,
  TemplateObject,
  Tuple,
  textOf,
  typeName,
  Undefined,
  type Value,
} from './values.js'

/** The value of an expression. */
export function evaluate(node: Expression, scope: Scope, run: Run): Value {
  run.enter()
  const value = resultOf(node, scope, run)
  run.leave()
  return value
}

function resultOf(node: Expression, scope: Scope, run: Run): Value {
  switch (node.type) {
    case 'constant':
      return node.value
    case 'name': {
      const value = scope.get(node.name)
      return value === undefined ? new Undefined(`'${node.name}' is undefined`) : value
    }
    case 'attribute':
      return attributeOf(evaluate(node.value, scope, run), node.name, run)
    case 'item':
      return itemOf(evaluate(node.value, scope, run), evaluate(node.key, scope, run), run)
    case 'slice':
      return evaluateSlice(node, scope, run)
    case 'call':
      return evaluateCall(node, scope, run)
    case 'filter':
      return applyFilter(node, evaluate(node.value!, scope, run), scope, run)
    case 'test':
      return evaluateTest(node, scope, run)
    case 'not':
      return !isTrue(evaluate(node.value, scope, run), run)
    case 'negative':
      return negate(evaluate(node.value, scope, run), run)
    case 'positive':
      return positive(evaluate(node.value, scope, run))
    case 'binary': {
      const left = evaluate(node.left, scope, run)
      return binary(node.operator, left, evaluate(node.right, scope, run), run)
    }
    case 'and': {
      const left = evaluate(node.left, scope, run)
      return isTrue(left, run) ? evaluate(node.right, scope, run) : left
    }
    case 'or': {
      const left = evaluate(node.left, scope, run)
      return isTrue(left, run) ? left : evaluate(node.right, scope, run)
    }
    case 'concat':
      return concat(evaluateAll(node.items, scope, run), run)
    case 'compare':
      return evaluateComparison(node, scope, run)
    case 'condition':
      if (isTrue(evaluate(node.test, scope, run), run)) return evaluate(node.consequent, scope, run)
      if (node.otherwise !== null) return evaluate(node.otherwise, scope, run)
      return new Undefined('an inline if without else was false')
    case 'list':
      return evaluateAll(node.items, scope, run)
    case 'tuple':
      return new Tuple(evaluateAll(node.items, scope, run))
    case 'dict':
      return evaluateDict(node, scope, run)
    case 'namespaceTarget':
      throw new TemplateError('a target is no expression')
  }
}

function evaluateAll(nodes: readonly Expression[], scope: Scope, run: Run): Value[] {
  run.makeList(nodes.length)
  return nodes.map((node) => evaluate(node, scope, run))
}

function evaluateDict(node: Expression & { type: 'dict' }, scope: Scope, run: Run): Dict {
  run.spend(10)
  const dict = new Dict()
  for (const [key, value] of node.pairs) dict.set(evaluate(key, scope, run), evaluate(value, scope, run), run)
  return dict
}

function evaluateSlice(node: Expression & { type: 'slice' }, scope: Scope, run: Run): Value {
  const part = (bound: Expression | null): Value => (bound === null ? null : evaluate(bound, scope, run))
  const value = evaluate(node.value, scope, run)
  return slice(value, part(node.start), part(node.stop), part(node.step), run)
}

function evaluateTest(node: Expression & { type: 'test' }, scope: Scope, run: Run): Value {
  const value = evaluate(node.value, scope, run)
  const test = TESTS.get(node.name)
  if (test === undefined) throw new TemplateError(`there is no test '${node.name}'`)
  const { args, keywords } = evaluateArguments(node, scope, run)
  return test(value, args, keywords, run)
}

function evaluateComparison(node: Expression & { type: 'compare' }, scope: Scope, run: Run): Value {
  let left = evaluate(node.first, scope, run)
  for (const { operator, value } of node.rest) {
    const right = evaluate(value, scope, run)
    if (!compare(operator, left, right, run)) return false
    left = right
  }
  return true
}

function concat(values: readonly Value[], run: Run): Value {
  const asMarkup = run.autoescape && values.some((value) => value instanceof Markup)
  let text = ''
  for (const value of values) {
    const part = asMarkup ? escapeHtml(value, run) : toText(value, run)
    run.makeString(text.length + part.length, Math.min(text.length, part.length))
    text += part
  }
  return asMarkup ? new Markup(text) : text
}

/** The filter's result for a value, which for a filter that follows another one is the value of the first. */
export function applyFilter(node: Filter, value: Value, scope: Scope, run: Run): Value {
  const filter = FILTERS.get(node.name)
  if (filter === undefined) throw new TemplateError(`there is no filter '${node.name}'`)
  const { args, keywords } = evaluateArguments(node, scope, run)
  return filter(value, args, keywords, run)
}

export function evaluateCall(node: Call, scope: Scope, run: Run, caller?: Value): Value {
  const callee = evaluate(node.callee, scope, run)
  const { args, keywords } = evaluateArguments(node, scope, run)
  const named = caller === undefined ? keywords : new Map([...keywords, ['caller', caller] as const])
  if (callee instanceof Undefined) callee.fail()
  if (!(callee instanceof TemplateObject) || callee.call === undefined) {
    throw new TemplateError(`a ${typeName(callee)} cannot be called`)
  }
  return callee.call(args, named, run)
}

const NO_KEYWORDS: Keywords = new Map()

function evaluateArguments(node: Arguments, scope: Scope, run: Run): { args: Value[]; keywords: Keywords } {
  const args = node.args.map((argument) => evaluate(argument, scope, run))
  if (node.star !== null) args.push(...listOf(evaluate(node.star, scope, run), run))
  if (node.keywords.length === 0 && node.doubleStar === null) return { args, keywords: NO_KEYWORDS }
  const keywords = new Map(node.keywords.map(({ name, value }) => [name, evaluate(value, scope, run)]))
  if (node.doubleStar !== null) {
    const more = evaluate(node.doubleStar, scope, run)
    if (!(more instanceof Dict)) throw new TemplateError(`after ** stands a dict, not a ${typeName(more)}`)
    for (const [key, value] of more.pairs()) {
      const name = textOf(key)
      if (name === undefined) throw new TemplateError('names of arguments are strings')
      if (keywords.has(name)) throw new TemplateError(`the argument '${name}' is given twice`)
      run.makeList(1)
      keywords.set(name, value)
    }
  }
  return { args, keywords }
}

/** Sets what a statement assigns to. */
export function assign(target: Target, value: Value, scope: Scope, run: Run): void {
  if (target.type === 'name') scope.set(target.name, value)
  else if (target.type === 'namespaceTarget') namespaceOf(target.name, scope).set(target.attribute, value)
  else assignItems(target.items, value, scope, run)
}

function assignItems(targets: readonly Target[], value: Value, scope: Scope, run: Run): void {
  const items: Value[] = []
  for (const item of each(value, run)) {
    if (items.length === targets.length) throw new TemplateError('there are more values than names to assign them to')
    items.push(item)
  }
  if (items.length < targets.length) throw new TemplateError('there are fewer values than names to assign them to')
  for (const [index, part] of targets.entries()) assign(part, items[index]!, scope, run)
}

function namespaceOf(name: string, scope: Scope): Namespace {
  const namespace = scope.get(name)
  if (!(namespace instanceof Namespace))
    throw new TemplateError(`cannot assign an attribute: '${name}' is no namespace`)
  return namespace
}

/** Checks that attributes are set on namespaces only; before the value is evaluated. */
export function checkNamespaces(target: Target, scope: Scope): void {
  if (target.type === 'tuple') for (const item of target.items) checkNamespaces(item, scope)
  else if (target.type === 'namespaceTarget') namespaceOf(target.name, scope)
}
