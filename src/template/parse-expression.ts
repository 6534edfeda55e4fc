import { pythonInteger } from './numbers.js'
import type { Arguments, BinaryOperator, Comparison, Expression, Keyword, Target } from './syntax.js'
import type { TokenStream } from './token-stream.js'

const NO_ARGUMENTS: Arguments = { args: [], keywords: [], star: null, doubleStar: null }
const COMPARISONS: readonly string[] = ['==', '!=', '<', '<=', '>', '>=']
/**
 * Left-associative operators; `~` stands between them. Of several in a row, the line of each but the first is where the one
 * before ended, as Jinja2 counts.
 */
const SUMS: readonly string[] = ['+', '-']
const PRODUCTS: readonly string[] = ['*', '/', '//', '%']

/** An expression or, where commas follow, a tuple without parentheses. */
export function parseTuple(
  stream: TokenStream,
  options: { conditions?: boolean; inParentheses?: boolean } = {},
): Expression {
  const parse = (): Expression => (options.conditions === false ? parseOr(stream) : parseExpression(stream))
  return parseItems(stream, parse, options.inParentheses ?? false)
}

/** What may be assigned to. `namespaces` allows `name.attribute`. */
export function parseTarget(stream: TokenStream, namespaces: boolean): Target {
  return assignable(
    stream,
    parseItems(stream, () => parsePrimary(stream, namespaces), false),
  )
}

export function parseTargetName(stream: TokenStream, use: 'store' | 'param' = 'store'): Target & { type: 'name' } {
  const { text, line } = stream.expect('name')
  if (constantOf(text) !== undefined) stream.fail(`cannot assign to '${text}'`, line)
  return { type: 'name', line, name: text, use }
}

function assignable(stream: TokenStream, expression: Expression): Target {
  if (expression.type === 'name') return { ...expression, use: 'store' }
  if (expression.type === 'namespaceTarget') return expression
  if (expression.type === 'tuple') {
    return { ...expression, items: expression.items.map((item) => stream.nested(() => assignable(stream, item))) }
  }
  return stream.fail(`cannot assign to a ${expression.type}`, expression.line)
}

function parseItems(stream: TokenStream, parse: () => Expression, inParentheses: boolean): Expression {
  const { line } = stream.current
  const items: Expression[] = []
  let isTuple = false
  for (;;) {
    if (items.length > 0) stream.expect('operator', ',')
    if (stream.is('variable_end') || stream.is('block_end') || stream.isOperator(')')) break
    items.push(parse())
    if (!stream.isOperator(',')) break
    isTuple = true
  }
  if (isTuple) return { type: 'tuple', line, items }
  if (items[0] !== undefined) return items[0]
  if (!inParentheses) stream.fail(`expected an expression, found ${stream.found()}`)
  return { type: 'tuple', line, items }
}

export function parseExpression(stream: TokenStream): Expression {
  return stream.nested(() => {
    let { line } = stream.current
    let expression = parseOr(stream)
    while (stream.skipIf('name', 'if')) {
      const test = parseOr(stream)
      const otherwise = stream.skipIf('name', 'else') ? parseExpression(stream) : null
      expression = { type: 'condition', line, test, consequent: expression, otherwise }
      line = stream.current.line
    }
    return expression
  })
}

function parseOr(stream: TokenStream): Expression {
  return parseLogical(stream, 'or', (operand) => parseLogical(operand, 'and', parseNot))
}

function parseLogical(
  stream: TokenStream,
  type: 'and' | 'or',
  parseOperand: (stream: TokenStream) => Expression,
): Expression {
  let { line } = stream.current
  let left = parseOperand(stream)
  while (stream.skipIf('name', type)) {
    left = { type, line, left, right: parseOperand(stream) }
    line = stream.current.line
  }
  return left
}

function parseNot(stream: TokenStream): Expression {
  if (!stream.isName('not')) return parseCompare(stream)
  const { line } = stream.next()
  return { type: 'not', line, value: stream.nested(() => parseNot(stream)) }
}

function parseCompare(stream: TokenStream): Expression {
  let { line } = stream.current
  const first = parseBinary(stream, SUMS, parseConcat)
  const rest: { operator: Comparison; value: Expression }[] = []
  for (;;) {
    let operator: Comparison
    if (stream.isOperator(...COMPARISONS)) operator = stream.next().text as Comparison
    else if (stream.skipIf('name', 'in')) operator = 'in'
    else if (stream.isName('not') && stream.look().type === 'name' && stream.look().text === 'in') {
      stream.next()
      stream.next()
      operator = 'not in'
    } else break
    rest.push({ operator, value: parseBinary(stream, SUMS, parseConcat) })
    line = stream.current.line
  }
  return rest.length === 0 ? first : { type: 'compare', line, first, rest }
}

function parseBinary(
  stream: TokenStream,
  operators: readonly string[],
  parseOperand: (stream: TokenStream) => Expression,
): Expression {
  let { line } = stream.current
  let left = parseOperand(stream)
  while (stream.isOperator(...operators)) {
    const operator = stream.next().text as BinaryOperator
    left = { type: 'binary', line, operator, left, right: parseOperand(stream) }
    line = stream.current.line
  }
  return left
}

function parseConcat(stream: TokenStream): Expression {
  const { line } = stream.current
  const items = [parseProduct(stream)]
  while (stream.skipIf('operator', '~')) items.push(parseProduct(stream))
  return items.length === 1 ? items[0]! : { type: 'concat', line, items }
}

function parseProduct(stream: TokenStream): Expression {
  return parseBinary(stream, PRODUCTS, (operand) => parseBinary(operand, ['**'], parseUnary))
}

function parseUnary(stream: TokenStream, withFilters: unknown = true): Expression {
  const { line } = stream.current
  let expression: Expression
  if (stream.isOperator('-', '+')) {
    const type = stream.next().text === '-' ? 'negative' : 'positive'
    expression = { type, line, value: stream.nested(() => parseUnary(stream, false)) }
  } else expression = parsePrimary(stream, false)
  expression = parsePostfix(stream, expression)
  return withFilters === false ? expression : parseFilters(stream, expression)
}

/** The value of a name that is a constant; undefined of any other. */
function constantOf(name: string): boolean | null | undefined {
  if (name === 'true' || name === 'True') return true
  if (name === 'false' || name === 'False') return false
  return name === 'none' || name === 'None' ? null : undefined
}

function parsePrimary(stream: TokenStream, namespaces: boolean): Expression {
  const { type, text, line } = stream.current
  switch (type) {
    case 'name': {
      stream.next()
      const value = constantOf(text)
      if (value !== undefined) return { type: 'constant', line, value }
      if (namespaces && stream.skipIf('operator', '.')) {
        return { type: 'namespaceTarget', line, name: text, attribute: stream.expect('name').text }
      }
      return { type: 'name', line, name: text, use: 'load' }
    }
    case 'string': {
      let value = ''
      while (stream.is('string')) value += stream.next().text
      return { type: 'constant', line, value }
    }
    case 'integer':
      stream.next()
      return { type: 'constant', line, value: pythonInteger(text, line) }
    case 'float':
      stream.next()
      return { type: 'constant', line, value: Number(text) }
    case 'operator':
      if (text === '(') {
        stream.next()
        const inside = parseTuple(stream, { inParentheses: true })
        stream.expect('operator', ')')
        return inside
      }
      if (text === '[') return parseList(stream)
      if (text === '{') return parseDict(stream)
  }
  return stream.fail(`expected an expression, found ${stream.found()}`)
}

function parseList(stream: TokenStream): Expression {
  const { line } = stream.expect('operator', '[')
  const items: Expression[] = []
  while (!stream.isOperator(']')) {
    if (items.length > 0) stream.expect('operator', ',')
    if (stream.isOperator(']')) break
    items.push(parseExpression(stream))
  }
  stream.expect('operator', ']')
  return { type: 'list', line, items }
}

function parseDict(stream: TokenStream): Expression {
  const { line } = stream.expect('operator', '{')
  const pairs: (readonly [Expression, Expression])[] = []
  while (!stream.isOperator('}')) {
    if (pairs.length > 0) stream.expect('operator', ',')
    if (stream.isOperator('}')) break
    const key = parseExpression(stream)
    stream.expect('operator', ':')
    pairs.push([key, parseExpression(stream)])
  }
  stream.expect('operator', '}')
  return { type: 'dict', line, pairs }
}

function parsePostfix(stream: TokenStream, value: Expression): Expression {
  let expression = value
  for (;;) {
    if (stream.isOperator('.', '[')) expression = parseSubscript(stream, expression)
    else if (stream.isOperator('(')) expression = parseCall(stream, expression)
    else return expression
  }
}

function parseFilters(stream: TokenStream, value: Expression): Expression {
  let expression = value
  for (;;) {
    if (stream.isOperator('|')) {
      stream.next()
      expression = parseFilter(stream, expression)
    } else if (stream.isName('is')) expression = parseTest(stream, expression)
    else if (stream.isOperator('(')) expression = parseCall(stream, expression)
    else return expression
  }
}

function parseCall(stream: TokenStream, callee: Expression): Expression & { type: 'call' } {
  const { line } = stream.current
  return { type: 'call', line, callee, ...parseArguments(stream) }
}

function parseSubscript(stream: TokenStream, value: Expression): Expression {
  const { text, line } = stream.next()
  if (text === '.') {
    const attribute = stream.next()
    if (attribute.type === 'name') return { type: 'attribute', line, value, name: attribute.text }
    if (attribute.type !== 'integer') stream.fail("expected a name or a number after '.'", attribute.line)
    const key: Expression = { type: 'constant', line: attribute.line, value: pythonInteger(attribute.text, line) }
    return { type: 'item', line, value, key }
  }
  const keys: Expression[] = []
  while (!stream.isOperator(']')) {
    if (keys.length > 0) stream.expect('operator', ',')
    let start: Expression | null = null
    if (!stream.isOperator(':')) start = parseExpression(stream)
    if (!stream.isOperator(':')) {
      keys.push(start!)
      continue
    }
    stream.next()
    const stop = stream.isOperator(':', ']', ',') ? null : parseExpression(stream)
    const step = stream.skipIf('operator', ':') && !stream.isOperator(']', ',') ? parseExpression(stream) : null
    if (keys.length > 0 || !stream.isOperator(']')) stream.fail('a slice stands alone in its brackets', line)
    stream.next()
    return { type: 'slice', line, value, start, stop, step }
  }
  stream.next()
  return { type: 'item', line, value, key: keys.length === 1 ? keys[0]! : { type: 'tuple', line, items: keys } }
}

function parseArguments(stream: TokenStream): Arguments {
  const { line } = stream.expect('operator', '(')
  const args: Expression[] = []
  const keywords: Keyword[] = []
  let star: Expression | null = null
  let doubleStar: Expression | null = null
  const ensure = (allowed: boolean): void => {
    if (!allowed) stream.fail('the arguments of a call stand in the wrong order', line)
  }
  let first = true
  while (!stream.isOperator(')')) {
    if (!first) {
      stream.expect('operator', ',')
      if (stream.isOperator(')')) break
    }
    first = false
    if (stream.isOperator('*')) {
      ensure(star === null && doubleStar === null)
      stream.next()
      star = parseExpression(stream)
    } else if (stream.isOperator('**')) {
      ensure(doubleStar === null)
      stream.next()
      doubleStar = parseExpression(stream)
    } else if (stream.is('name') && stream.look().type === 'operator' && stream.look().text === '=') {
      ensure(doubleStar === null)
      const name = stream.next().text
      stream.next()
      if (keywords.some((keyword) => keyword.name === name)) stream.fail(`the argument '${name}' is given twice`, line)
      keywords.push({ name, value: parseExpression(stream) })
    } else {
      ensure(star === null && doubleStar === null && keywords.length === 0)
      args.push(parseExpression(stream))
    }
  }
  stream.expect('operator', ')')
  return { args, keywords, star, doubleStar }
}

/** The filter whose name comes next; `value` is null where it is applied to a block. */
export function parseFilter(stream: TokenStream, value: Expression | null): Expression & { type: 'filter' } {
  const { line } = stream.current
  const name = parseDottedName(stream)
  const args = stream.isOperator('(') ? parseArguments(stream) : NO_ARGUMENTS
  return { type: 'filter', line, value, name, ...args }
}

function parseDottedName(stream: TokenStream): string {
  let name = stream.expect('name').text
  while (stream.skipIf('operator', '.')) name += `.${stream.expect('name').text}`
  return name
}

function parseTest(stream: TokenStream, value: Expression): Expression {
  const { line } = stream.next()
  const negated = stream.skipIf('name', 'not')
  const name = parseDottedName(stream)
  let args = NO_ARGUMENTS
  if (stream.isOperator('(')) args = parseArguments(stream)
  else if (
    (['name', 'string', 'integer', 'float'].includes(stream.current.type) || stream.isOperator('[', '{')) &&
    !stream.isName('else', 'or', 'and')
  ) {
    if (stream.isName('is')) stream.fail("tests cannot be chained with 'is'")
    args = { ...NO_ARGUMENTS, args: [parsePostfix(stream, parsePrimary(stream, false))] }
  }
  const test: Expression = { type: 'test', line, value, name, ...args }
  return negated ? { type: 'not', line, value: test } : test
}
