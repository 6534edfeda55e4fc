import { applyFilter, assign, checkNamespaces, evaluate, evaluateCall } from './evaluate.js'
import { escapeHtml } from './html.js'
import { Loop } from './loop.js'
import { Macro, TemplateReference } from './macro.js'
import { blocksOf, type ScopeNames, scopeNames, specialNames } from './names.js'
import { isTrue, iterate } from './protocols.js'
import { toText } from './represent.js'
import { type Run, TemplateError } from './run.js'
import type { Scope } from './scope.js'
import type { Block, Expression, Filter, For, Signature, Statement, Target } from './syntax.js'
import { Generator, Markup, Undefined, type Value } from './values.js'

/** How a body ended before its end. */
type Left = 'break' | 'continue' | undefined

/** Text that is put out, piece by piece. */
class Output {
  private readonly pieces: string[] = []
  private length = 0

  constructor(private readonly run: Run) {}

  write(text: string): void {
    this.length += text.length
    this.run.makeString(this.length, text.length)
    this.pieces.push(text)
  }

  text(): string {
    return this.pieces.join('')
  }
}

/** A template's statements with what is known of their names, for any number of renderings. */
export class Program {
  readonly blocks: ReadonlyMap<string, Block>
  private readonly scopes = new Map<object, ScopeNames>()

  constructor(readonly body: readonly Statement[]) {
    this.blocks = blocksOf(body)
  }

  /** @param variables holds what the template is given */
  render(variables: Scope, run: Run): string {
    const renderer = new Renderer(this, variables, run)
    return renderer.render()
  }

  /** The names of a scope that a node opens, found when it is first needed. */
  names(
    key: object,
    parameters: readonly string[],
    read: readonly Expression[],
    body: readonly Statement[],
  ): ScopeNames {
    let names = this.scopes.get(key)
    if (names === undefined) {
      names = scopeNames(parameters, read, body)
      this.scopes.set(key, names)
    }
    return names
  }
}

class Renderer {
  private readonly top: Scope

  constructor(
    private readonly program: Program,
    variables: Scope,
    private readonly run: Run,
  ) {
    this.top = variables.inner(program.names(program, [], [], program.body))
    const render = (block: Block): Value => this.captured(block.body, this.blockScope(block, this.top))
    this.top.set('self', new TemplateReference(program.blocks, render))
  }

  render(): string {
    const output = new Output(this.run)
    this.executeAll(this.program.body, this.top, output)
    return output.text()
  }

  private executeAll(body: readonly Statement[], scope: Scope, output: Output): Left {
    for (const statement of body) {
      const left = this.execute(statement, scope, output)
      if (left !== undefined) return left
    }
    return undefined
  }

  private execute(statement: Statement, scope: Scope, output: Output): Left {
    const { run } = this
    run.enter()
    try {
      const left = this.executeUnguarded(statement, scope, output)
      run.leave()
      return left
    } catch (error) {
      if (error instanceof TemplateError) error.line ??= statement.line
      throw error
    }
  }

  private executeUnguarded(statement: Statement, scope: Scope, output: Output): Left {
    const { run } = this
    switch (statement.type) {
      case 'text':
        output.write(statement.text)
        return undefined
      case 'output':
        this.write(evaluate(statement.value, scope, run), output)
        return undefined
      case 'if':
        return this.executeIf(statement, scope, output)
      case 'for':
        return this.executeFor(statement, scope, output)
      case 'set':
        checkNamespaces(statement.target, scope)
        assign(statement.target, evaluate(statement.value, scope, run), scope, run)
        return undefined
      case 'setBlock':
        return this.executeSetBlock(statement, scope)
      case 'macro':
        scope.set(statement.name, this.macro(statement.name, statement, statement, scope))
        return undefined
      case 'callBlock': {
        const caller = this.macro(null, statement, statement, scope)
        const { call } = statement
        this.write(call === null ? caller.call([], new Map(), run) : evaluateCall(call, scope, run, caller), output)
        return undefined
      }
      case 'filterBlock': {
        const inner = scope.inner(this.program.names(statement, [], [], statement.body))
        const captured = new Output(run)
        const left = this.executeAll(statement.body, inner, captured)
        if (left === undefined) this.write(this.filtered(statement.filter, this.marked(captured.text()), inner), output)
        return left
      }
      case 'with': {
        const values = statement.values.map((value) => evaluate(value, scope, run))
        const names = statement.targets.flatMap(targetNames)
        const inner = scope.inner(this.program.names(statement, names, [], statement.body))
        for (const [index, target] of statement.targets.entries()) assign(target, values[index]!, inner, run)
        return this.executeAll(statement.body, inner, output)
      }
      case 'autoescape': {
        const inner = scope.inner(this.program.names(statement, [], [statement.value], statement.body))
        const before = run.autoescape
        run.autoescape = isTrue(evaluate(statement.value, inner, run), run)
        const left = this.executeAll(statement.body, inner, output)
        run.autoescape = before
        return left
      }
      case 'block':
        if (statement.required) throw new TemplateError(`Required block '${statement.name}' not found`)
        this.executeAll(statement.body, this.blockScope(statement, statement.scoped ? scope : this.top), output)
        return undefined
      case 'break':
      case 'continue':
        return statement.type
      case 'load':
        throw new TemplateError(`'${statement.tag}' needs another template, and a chat template stands alone`)
    }
  }

  private write(value: Value, output: Output): void {
    output.write(this.run.autoescape ? escapeHtml(value, this.run) : toText(value, this.run))
  }

  private marked(text: string): Value {
    return this.run.autoescape ? new Markup(text) : text
  }

  private captured(body: readonly Statement[], scope: Scope): Value {
    const output = new Output(this.run)
    this.executeAll(body, scope, output)
    return this.marked(output.text())
  }

  private blockScope(block: Block, outer: Scope): Scope {
    this.run.spend(30)
    return outer.visible().inner(this.program.names(block, [], [], block.body))
  }

  private executeIf(statement: Statement & { type: 'if' }, scope: Scope, output: Output): Left {
    for (const { line, test, body } of statement.branches) {
      let holds: boolean
      try {
        holds = isTrue(evaluate(test, scope, this.run), this.run)
      } catch (error) {
        if (error instanceof TemplateError) error.line ??= line
        throw error
      }
      if (holds) return this.executeAll(body, scope, output)
    }
    return this.executeAll(statement.otherwise, scope, output)
  }

  private executeSetBlock(statement: Statement & { type: 'setBlock' }, scope: Scope): Left {
    const { target, filter, body } = statement
    const inner = scope.inner(this.program.names(statement, [], [], body))
    const captured = new Output(this.run)
    const left = this.executeAll(body, inner, captured)
    if (left !== undefined) return left
    let value: Value = captured.text()
    if (filter !== null) value = this.filtered(filter, this.marked(captured.text()), inner)
    checkNamespaces(target, scope)
    const marked = this.run.autoescape && !(value instanceof Markup) ? new Markup(toText(value, this.run)) : value
    assign(target, marked, scope, this.run)
    return undefined
  }

  private filtered(filter: Filter, text: Value, scope: Scope): Value {
    const value = filter.value === null ? text : this.filtered(filter.value as Filter, text, scope)
    return applyFilter(filter, value, scope, this.run)
  }

  private executeFor(statement: For, scope: Scope, output: Output): Left {
    const items = evaluate(statement.iterable, scope, this.run)
    if (!statement.recursive) return this.runLoop(statement, items, scope, output, 0, null)
    const recurse = (inner: Value, depth0: number): Value => {
      const captured = new Output(this.run)
      this.runLoop(statement, inner, scope, captured, depth0, recurse)
      return this.marked(captured.text())
    }
    this.write(recurse(items, 0), output)
    return undefined
  }

  private runLoop(
    statement: For,
    items: Value,
    scope: Scope,
    output: Output,
    depth0: number,
    recurse: ((items: Value, depth0: number) => Value) | null,
  ): Left {
    const { program, run } = this
    const { target, body, otherwise, test } = statement
    const parameters = [...targetNames(target), 'loop']
    const names = program.names(statement, parameters, [], body)
    const loop = new Loop(test === null ? items : this.tested(statement, items, test, scope), run, depth0, recurse)
    // As in Jinja2, `else` runs where no pass came to its end.
    let passed = false
    for (let item = loop.next(); item !== undefined; item = loop.next()) {
      run.spend(5)
      const inner = scope.inner(names)
      inner.set('loop', loop)
      assign(target, item, inner, run)
      const left = this.executeAll(body, inner, output)
      if (left === 'break') break
      if (left === undefined) passed = true
    }
    if (passed) return undefined
    return this.executeAll(otherwise, scope.inner(program.names(otherwise, [], [], otherwise)), output)
  }

  /** The items that pass the loop's own test, one at a time. */
  private tested(statement: For, items: Value, test: Expression, scope: Scope): Value {
    const { program, run } = this
    const names = program.names(test, targetNames(statement.target), [test], [])
    function* passing(): Iterator<Value> {
      const all = iterate(items, run)
      for (let next = all.next(); next.done !== true; next = all.next()) {
        run.spend(1)
        const inner = scope.inner(names)
        assign(statement.target, next.value, inner, run)
        if (isTrue(evaluate(test, inner, run), run)) yield next.value
      }
    }
    return new Generator(passing())
  }

  private macro(
    name: string | null,
    node: Statement,
    definition: Signature & { readonly body: readonly Statement[] },
    scope: Scope,
  ): Macro {
    const { parameters, body } = definition
    const special = specialNames(body)
    const own = new Set(parameters.map((parameter) => parameter.name))
    const taken = ['caller', 'kwargs', 'varargs'].filter((extra) => special.has(extra) && !own.has(extra))
    const defaults = parameters.flatMap((parameter) => parameter.default ?? [])
    const names = this.program.names(definition, [...own, ...taken], defaults, body)
    const { autoescape } = this.run
    return new Macro(name, [...own], new Set(taken), (given, run) => {
      const calledWith = run.autoescape
      run.autoescape = autoescape
      const inner = scope.inner(names)
      for (const parameter of own) inner.declare(parameter)
      for (const [parameter, value] of given) inner.set(parameter, value)
      try {
        for (const parameter of parameters) {
          if (inner.isSet(parameter.name)) continue
          inner.set(
            parameter.name,
            parameter.default === null
              ? new Undefined(`parameter '${parameter.name}' was not provided`)
              : evaluate(parameter.default, inner, run),
          )
        }
      } catch (error) {
        if (error instanceof TemplateError) error.line ??= node.line
        throw error
      }
      const output = new Output(run)
      this.executeAll(body, inner, output)
      run.autoescape = calledWith
      return this.marked(output.text())
    })
  }
}

function targetNames(target: Target): string[] {
  if (target.type === 'tuple') return target.items.flatMap(targetNames)
  return target.type === 'name' ? [target.name] : []
}
