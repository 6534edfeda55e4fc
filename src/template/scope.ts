import type { ScopeNames } from './names.js'
import type { Value } from './values.js'

const NO_NAMES: ReadonlySet<string> = new Set()

/** Variables, and where to look further. */
export class Scope {
  private readonly variables = new Map<string, Value | undefined>()

  private constructor(
    private readonly parent: Scope | null,
    private readonly used: ReadonlySet<string>,
  ) {}

  /** The scope of what a template is given. */
  static outermost(variables: Iterable<readonly [string, Value]>): Scope {
    const scope = new Scope(null, NO_NAMES)
    for (const [name, value] of variables) scope.variables.set(name, value)
    return scope
  }

  /** A scope inside of this one. */
  inner({ used, setFirst }: ScopeNames): Scope {
    const scope = new Scope(this, used)
    for (const name of setFirst) if (!this.isUsed(name)) scope.variables.set(name, undefined)
    return scope
  }

  /** A scope of what is set here and further out, as it is now: what a block sees. */
  visible(): Scope {
    const scope = this.parent === null ? new Scope(null, NO_NAMES) : this.parent.visible()
    for (const [name, value] of this.variables) if (value !== undefined) scope.variables.set(name, value)
    return scope
  }

  private isUsed(name: string): boolean {
    return this.used.has(name) || (this.parent?.isUsed(name) ?? false)
  }

  get(name: string): Value | undefined {
    const value = this.variables.get(name)
    return value !== undefined || this.variables.has(name) ? value : this.parent?.get(name)
  }

  set(name: string, value: Value): void {
    this.variables.set(name, value)
  }

  /** The parameter is there, though without a value yet. */
  declare(name: string): void {
    this.variables.set(name, undefined)
  }

  isSet(name: string): boolean {
    return this.variables.get(name) !== undefined
  }
}
