import { type Run, TemplateError } from './run.js'
import type { Block } from './syntax.js'
import { Dict, type Keywords, NativeFunction, TemplateObject, Tuple, textOf, Undefined, type Value } from './values.js'

/** The variable `self`, which has a template's blocks. */
export class TemplateReference extends TemplateObject {
  readonly typeName = 'TemplateReference'

  constructor(
    private readonly blocks: ReadonlyMap<string, Block>,
    private readonly render: (block: Block) => Value,
  ) {
    super()
  }

  override represent(): string {
    return '<TemplateReference None>'
  }

  override item(key: Value): Value | undefined {
    const block = this.blocks.get(textOf(key) ?? '')
    return block === undefined ? undefined : new NativeFunction(block.name, () => this.render(block))
  }
}

/** What `{% macro %}` and `{% call %}` define. */
export class Macro extends TemplateObject {
  readonly typeName = 'Macro'

  constructor(
    private readonly name: string | null,
    private readonly parameters: readonly string[],
    /** Which of `caller`, `kwargs` and `varargs` the body uses. */
    private readonly special: ReadonlySet<string>,
    private readonly body: (given: ReadonlyMap<string, Value>, run: Run) => Value,
  ) {
    super()
  }

  override call(args: readonly Value[], keywords: Keywords, run: Run): Value {
    const given = new Map<string, Value>()
    const rest = new Map(keywords)
    for (const [index, parameter] of this.parameters.entries()) {
      const value = index < args.length ? args[index] : rest.get(parameter)
      if (index >= args.length) rest.delete(parameter)
      if (value !== undefined) given.set(parameter, value)
    }
    if (this.special.has('caller')) {
      given.set('caller', rest.get('caller') ?? new Undefined('No caller defined'))
      rest.delete('caller')
    }
    if (this.special.has('kwargs')) given.set('kwargs', Dict.of(run, rest))
    else if (rest.size > 0) {
      throw new TemplateError(`the macro '${this.name ?? 'caller'}' has no argument '${rest.keys().next().value}'`)
    }
    if (this.special.has('varargs')) given.set('varargs', new Tuple(args.slice(this.parameters.length)))
    else if (args.length > this.parameters.length) {
      throw new TemplateError(`the macro '${this.name ?? 'caller'}' takes at most ${this.parameters.length} arguments`)
    }
    run.enter()
    const result = this.body(given, run)
    run.leave()
    return result
  }

  override attribute(name: string): Value | undefined {
    switch (name) {
      case 'name':
        return this.name
      case 'arguments':
        return new Tuple(this.parameters)
      case 'catch_kwargs':
        return this.special.has('kwargs')
      case 'catch_varargs':
        return this.special.has('varargs')
      case 'caller':
        return this.special.has('caller')
      default:
        return undefined
    }
  }

  override represent(): string {
    return this.name === null ? '<Macro anonymous>' : `<Macro '${this.name}'>`
  }
}
