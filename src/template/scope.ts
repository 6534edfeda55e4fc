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
    const scope = new Scope(null, NO_NAMES)
    const chain: Scope[] = []
    for (let outer: Scope | null = this; outer !== null; outer = outer.parent) chain.unshift(outer)
    for (const { variables } of chain) {
      for (const [name, value] of variables) if (value !== undefined) scope.variables.set(name, value)
    }
    return scope
  }

  private isUsed(name: string): boolean {
    for (let scope: Scope | null = this; scope !== null; scope = scope.parent) if (scope.used.has(name)) return true
    return false
  }

  get(name: string): Value | undefined {
    for (let scope: Scope | null = this; scope !== null; scope = scope.parent) {
      const value = scope.variables.get(name)
      if (value !== undefined || scope.variables.has(name)) return value
    }
    return undefined
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
