import { tokenize } from './lexer.js'
import { parseExpression, parseFilter, parseTarget, parseTargetName, parseTuple } from './parse-expression.js'
import { TemplateError } from './run.js'
import type { Block, Call, Filter, Name, Signature, Statement, Target } from './syntax.js'
import { TokenStream } from './token-stream.js'

/** Templates of the field have some ten thousand characters. */
const MAX_SOURCE = 1 << 20

/**
 * The syntax tree of a template.
 * @throws TemplateError with the line
 */
export function parseTemplate(source: string): Statement[] {
  if (source.length > MAX_SOURCE) throw new TemplateError(`the template has more than ${MAX_SOURCE} characters`)
  return new StatementParser(new TokenStream(tokenize(source))).parseAll()
}

class StatementParser {
  /** End tags that are looked for, the innermost last. */
  private readonly expected: (readonly string[])[] = []
  private readonly open: string[] = []
  private readonly blocks = new Set<string>()
  /** Whether a `break` would leave a loop; a macro begins anew. */
  private inLoop = false
  /** Neither `for` nor a macro is open. */
  private isTopLevel = true

  constructor(private readonly stream: TokenStream) {}

  parseAll(): Statement[] {
    return this.parseBody(null)
  }

  private parseBody(ends: readonly string[] | null): Statement[] {
    const { stream } = this
    const body: Statement[] = []
    for (;;) {
      const { type, line, text } = stream.current
      switch (type) {
        case 'data':
          stream.next()
          body.push({ type: 'text', line, text })
          break
        case 'variable_begin': {
          stream.next()
          const value = parseTuple(stream)
          body.push({ type: 'output', line: value.line, value })
          stream.expect('variable_end')
          break
        }
        case 'block_begin':
          stream.next()
          if (ends !== null && stream.isName(...ends)) return body
          stream.nested(() => this.parseStatement(body))
          stream.expect('block_end')
          break
        default:
          if (ends !== null) this.failTag(null)
          return body
      }
    }
  }

  /** The body of a block up to one of `ends`, which becomes the current token. */
  private parseUntil(...ends: readonly string[]): Statement[] {
    this.stream.skipIf('operator', ':')
    this.stream.expect('block_end')
    this.expected.push(ends)
    const body = this.parseBody(ends)
    this.expected.pop()
    return body
  }

  private parseInside(end: string): Statement[] {
    const body = this.parseUntil(end)
    this.stream.next()
    return body
  }

  /** A body that runs as a function of its own. */
  private parseFunction(end: string): Statement[] {
    return this.within({ inLoop: false, isTopLevel: false }, () => this.parseInside(end))
  }

  private within<T>(state: { inLoop?: boolean; isTopLevel?: boolean }, parse: () => T): T {
    const { inLoop, isTopLevel } = this
    this.inLoop = state.inLoop ?? inLoop
    this.isTopLevel = state.isTopLevel ?? isTopLevel
    const result = parse()
    this.inLoop = inLoop
    this.isTopLevel = isTopLevel
    return result
  }

  private failTag(tag: string | null): never {
    const wanted = this.expected.at(-1)
    const opened = this.open.at(-1)
    const parts = [tag === null ? 'the template ends too early' : `the tag '${tag}' is unknown or misplaced here`]
    if (wanted !== undefined) parts.push(`expected ${wanted.map((name) => `'${name}'`).join(' or ')}`)
    if (opened !== undefined) parts.push(`to close '${opened}'`)
    return this.stream.fail(parts.join(', ').replace(', to close', ' to close'))
  }

  private parseStatement(body: Statement[]): void {
    const { stream } = this
    if (stream.current.type !== 'name') stream.fail(`expected a tag's name, found ${stream.found()}`)
    const tag = stream.current.text
    if (!TAGS.has(tag)) this.failTag(tag)
    this.open.push(tag)
    const { line } = stream.next()
    if (tag === 'print') {
      for (let first = true; !stream.is('block_end'); first = false) {
        if (!first) stream.expect('operator', ',')
        const value = parseExpression(stream)
        body.push({ type: 'output', line: value.line, value })
      }
    } else body.push(this.parseTag(tag, line))
    this.open.pop()
  }

  private parseTag(tag: string, line: number): Statement {
    const { stream } = this
    switch (tag) {
      case 'if':
        return this.parseIf(line)
      case 'for':
        return this.parseFor(line)
      case 'set':
        return this.parseSet(line)
      case 'macro': {
        const { name } = parseTargetName(stream)
        const { parameters } = this.parseSignature()
        return { type: 'macro', line, name, parameters, body: this.parseFunction('endmacro') }
      }
      case 'call':
        return this.parseCall(line)
      case 'generation':
        return { type: 'callBlock', line, call: null, parameters: [], body: this.parseFunction('endgeneration') }
      case 'filter': {
        let filter = parseFilter(stream, null)
        while (stream.skipIf('operator', '|')) filter = parseFilter(stream, filter)
        return {
          type: 'filterBlock',
          line,
          filter,
          body: this.within({ isTopLevel: false }, () => this.parseInside('endfilter')),
        }
      }
      case 'with':
        return this.parseWith(line)
      case 'autoescape': {
        const value = parseExpression(stream)
        return {
          type: 'autoescape',
          line,
          value,
          body: this.within({ isTopLevel: false }, () => this.parseInside('endautoescape')),
        }
      }
      case 'block':
        return this.parseBlock(line)
      case 'break':
      case 'continue':
        if (!this.inLoop) stream.fail(`'${tag}' stands outside of a loop`, line)
        return { type: tag, line }
      default:
        return this.parseLoad(tag, line)
    }
  }

  private parseIf(line: number): Statement {
    const { stream } = this
    const branches: { line: number; test: ReturnType<typeof parseTuple>; body: Statement[] }[] = []
    let branchLine = line
    for (;;) {
      const test = parseTuple(stream, { conditions: false })
      branches.push({ line: branchLine, test, body: this.parseUntil('elif', 'else', 'endif') })
      const end = stream.next()
      branchLine = end.line
      if (end.text === 'elif') continue
      return { type: 'if', line, branches, otherwise: end.text === 'else' ? this.parseInside('endif') : [] }
    }
  }

  private parseFor(line: number): Statement {
    const { stream } = this
    const target = parseTarget(stream, false)
    stream.expect('name', 'in')
    const iterable = parseTuple(stream, { conditions: false })
    const test = stream.skipIf('name', 'if') ? parseExpression(stream) : null
    const recursive = stream.skipIf('name', 'recursive')
    const body = this.within({ inLoop: true, isTopLevel: false }, () => this.parseUntil('endfor', 'else'))
    const hasElse = stream.next().text === 'else'
    const inLoop = this.inLoop && !recursive
    const otherwise = hasElse ? this.within({ inLoop, isTopLevel: false }, () => this.parseInside('endfor')) : []
    return { type: 'for', line, target, iterable, test, recursive, body, otherwise }
  }

  private parseSet(line: number): Statement {
    const { stream } = this
    const target = parseTarget(stream, true)
    if (stream.skipIf('operator', '=')) return { type: 'set', line, target, value: parseTuple(stream) }
    let filter: Filter | null = null
    while (stream.skipIf('operator', '|')) filter = parseFilter(stream, filter)
    const body = this.within({ isTopLevel: false }, () => this.parseInside('endset'))
    return { type: 'setBlock', line, target, filter, body }
  }

  private parseSignature(): Signature {
    const { stream } = this
    const parameters: { name: string; default: ReturnType<typeof parseExpression> | null }[] = []
    stream.expect('operator', '(')
    while (!stream.isOperator(')')) {
      if (parameters.length > 0) stream.expect('operator', ',')
      const { name, line } = parseTargetName(stream, 'param')
      const value = stream.skipIf('operator', '=') ? parseExpression(stream) : null
      if (value === null && parameters.at(-1)?.default != null) {
        stream.fail(`the parameter '${name}' needs a default value, as the one before it has one`)
      }
      if (parameters.some((parameter) => parameter.name === name))
        stream.fail(`the parameter '${name}' occurs twice`, line)
      parameters.push({ name, default: value })
    }
    stream.expect('operator', ')')
    return { parameters }
  }

  private parseCall(line: number): Statement {
    const { stream } = this
    const { parameters } = stream.isOperator('(') ? this.parseSignature() : { parameters: [] }
    const call = parseExpression(stream)
    if (call.type !== 'call') stream.fail("expected a call after 'call'", line)
    return { type: 'callBlock', line, call: call as Call, parameters, body: this.parseFunction('endcall') }
  }

  private parseWith(line: number): Statement {
    const { stream } = this
    const targets: Target[] = []
    const values: ReturnType<typeof parseExpression>[] = []
    while (!stream.is('block_end')) {
      if (targets.length > 0) stream.expect('operator', ',')
      targets.push(asParameters(parseTarget(stream, false)))
      stream.expect('operator', '=')
      values.push(parseExpression(stream))
    }
    return {
      type: 'with',
      line,
      targets,
      values,
      body: this.within({ isTopLevel: false }, () => this.parseInside('endwith')),
    }
  }

  private parseBlock(line: number): Block {
    const { stream } = this
    const name = stream.expect('name').text
    const scoped = stream.skipIf('name', 'scoped')
    const required = stream.skipIf('name', 'required')
    if (this.blocks.has(name)) stream.fail(`the block '${name}' is defined twice`, line)
    this.blocks.add(name)
    const body = this.parseFunction('endblock')
    if (required && !body.every((part) => part.type === 'text' && part.text.trim() === '')) {
      stream.fail('a required block holds nothing but blanks and comments', line)
    }
    stream.skipIf('name', name)
    return { type: 'block', line, name, scoped, required, body }
  }

  /** extends, include, import and from. */
  private parseLoad(tag: string, line: number): Statement {
    const { stream } = this
    if (tag === 'extends' && !this.isTopLevel) stream.fail("'extends' stands inside of another block", line)
    const names: Name[] = []
    parseExpression(stream)
    if (tag === 'include' && stream.isName('ignore') && stream.look().text === 'missing') {
      stream.next()
      stream.next()
    }
    if (tag === 'import') {
      stream.expect('name', 'as')
      names.push(parseTargetName(stream))
    } else if (tag === 'from') {
      stream.expect('name', 'import')
      do {
        if (this.skipContext() || !stream.is('name')) break
        let name = parseTargetName(stream)
        if (name.name.startsWith('_')) stream.fail("names that begin with '_' cannot be imported", name.line)
        if (stream.skipIf('name', 'as')) name = parseTargetName(stream)
        names.push(name)
      } while (stream.skipIf('operator', ','))
    }
    if (tag !== 'extends') this.skipContext()
    return { type: 'load', line, tag, names }
  }

  private skipContext(): boolean {
    const found = this.stream.isName('with', 'without') && this.stream.look().text === 'context'
    if (found) {
      this.stream.next()
      this.stream.next()
    }
    return found
  }
}

function asParameters(target: Target): Target {
  if (target.type === 'tuple') return { ...target, items: target.items.map(asParameters) }
  return target.type === 'name' ? { ...target, use: 'param' } : target
}

const TAGS: ReadonlySet<string> = new Set([
  'if',
  'for',
  'set',
  'macro',
  'call',
  'generation',
  'filter',
  'with',
  'autoescape',
  'block',
  'break',
  'continue',
  'print',
  'extends',
  'include',
  'import',
  'from',
])
