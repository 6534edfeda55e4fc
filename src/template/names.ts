import { FILTERS, TESTS } from './filters.js'
import { TemplateError } from './run.js'
import type { Block, Expression, Statement, Target } from './syntax.js'

/** What Jinja2's compiler knows of the names of one scope. */
export interface ScopeNames {
  /** Names that are read or set in the scope itself. */
  readonly used: ReadonlySet<string>
  /**
   * Names that are set before anything in the scope reads them. They hide variables of the template from the beginning of
   * the scope, even from inner scopes that run before the name is set.
   */
  readonly setFirst: readonly string[]
}

type Node = Expression | Statement | Target

/**
 * The names of a scope.
 * @param parameters names that it holds from its beginning
 */
export function scopeNames(
  parameters: readonly string[],
  read: readonly Expression[],
  body: readonly Statement[],
): ScopeNames {
  const used = new Set(parameters)
  const setFirst: string[] = []
  const visitor = new NameVisitor(used, setFirst)
  for (const expression of read) visitor.read(expression)
  visitor.visitAll(body)
  return { used, setFirst }
}

class NameVisitor {
  constructor(
    private readonly used: Set<string>,
    private readonly setFirst: string[],
  ) {}

  read(expression: unknown): void {
    for (const { node } of names(expression)) this.used.add(node.name)
  }

  private store(target: Target): void {
    if (target.type === 'tuple') for (const item of target.items) this.store(item)
    else if (target.type === 'namespaceTarget') this.used.add(target.name)
    else this.storeName(target.name)
  }

  private storeName(name: string): void {
    if (!this.used.has(name)) this.setFirst.push(name)
    this.used.add(name)
  }

  visitAll(body: readonly Statement[]): void {
    for (const statement of body) this.visit(statement)
  }

  /** Bodies of inner scopes are not visited. */
  private visit(statement: Statement): void {
    switch (statement.type) {
      case 'output':
        this.read(statement.value)
        break
      case 'if':
        this.visitIf(statement)
        break
      case 'for':
        this.read(statement.iterable)
        break
      case 'set':
        this.read(statement.value)
        this.store(statement.target)
        break
      case 'setBlock':
        this.store(statement.target)
        break
      case 'macro':
        this.storeName(statement.name)
        break
      case 'callBlock':
        this.read(statement.call)
        break
      case 'filterBlock':
        this.read(statement.filter)
        break
      case 'with':
        this.read(statement.values)
        break
      case 'load':
        for (const name of statement.names) this.store(name)
    }
  }

  /** What a branch sets first may as well come from outside, if another branch is taken. */
  private visitIf(statement: Statement & { type: 'if' }): void {
    const used = new Set<string>()
    for (const { test, body } of [...statement.branches, { test: null, body: statement.otherwise }]) {
      if (test !== null) this.read(test)
      const inBranch = new Set(this.used)
      new NameVisitor(inBranch, []).visitAll(body)
      for (const name of inBranch) used.add(name)
    }
    for (const name of used) this.used.add(name)
  }
}

function* names(root: unknown): Generator<{ node: { type: 'name'; name: string; use: string; line: number } }> {
  for (const node of nodes(root)) if (node.type === 'name') yield { node }
}

/** All nodes of a tree in the order of the text, without recursion; not those inside of what `enter` refuses. */
function* nodes(root: unknown, enter: (node: Node) => boolean = () => true): Generator<Node> {
  const waiting: unknown[] = [root]
  while (waiting.length > 0) {
    const value = waiting.pop()
    if (typeof value !== 'object' || value === null) continue
    if (Array.isArray(value)) {
      for (let index = value.length - 1; index >= 0; index--) waiting.push(value[index])
      continue
    }
    if ('type' in value) {
      yield value as Node
      if (!enter(value as Node)) continue
    }
    const children = Object.values(value)
    for (let index = children.length - 1; index >= 0; index--) waiting.push(children[index])
  }
}

/** All blocks by name. */
export function blocksOf(body: readonly Statement[]): ReadonlyMap<string, Block> {
  const blocks = new Map<string, Block>()
  for (const node of nodes(body)) if (node.type === 'block') blocks.set(node.name, node)
  return blocks
}

/** Which of `caller`, `kwargs` and `varargs` a macro's body takes from outside, though its blocks are left out. */
export function specialNames(body: readonly Statement[]): ReadonlySet<string> {
  const watched = new Set(['caller', 'kwargs', 'varargs'])
  const found = new Set<string>()
  for (const node of nodes(body, (inside) => inside.type !== 'block')) {
    if (node.type !== 'name' || !watched.has(node.name)) continue
    if (node.use === 'load') found.add(node.name)
    else watched.delete(node.name)
  }
  return found
}

/**
 * Checks what Jinja2 checks when it compiles: that filters and tests exist, save under a condition, and that no loop sets `loop`.
 * @throws TemplateError with the line
 */
export function checkTemplate(body: readonly Statement[]): void {
  for (const node of nodes(body)) {
    if (node.type === 'for') {
      const wrong = [...nodes(node)].find(
        (inside) => inside.type === 'name' && inside.name === 'loop' && inside.use === 'store',
      )
      if (wrong !== undefined) throw new TemplateError("cannot assign to 'loop' inside of a loop", wrong.line)
    }
    if (node.type === 'macro' || node.type === 'callBlock') {
      const caller = node.parameters.find(({ name }) => name === 'caller')
      if (caller?.default === null && specialNames(node.body).has('caller')) {
        throw new TemplateError("the parameter 'caller' needs a default value", node.line)
      }
    }
  }
  checkFilters(body, false)
}

/** `soft`: a filter that does not exist is an error only where it is reached. */
function checkFilters(root: unknown, soft: boolean): void {
  for (const node of nodes(root, (inside) => !HAS_SCOPE.has(inside.type))) {
    if (node.type === 'filter' && !soft && !FILTERS.has(node.name)) {
      throw new TemplateError(`there is no filter '${node.name}'`, node.line)
    }
    if (node.type === 'test' && !soft && !TESTS.has(node.name)) {
      throw new TemplateError(`there is no test '${node.name}'`, node.line)
    }
    switch (node.type) {
      case 'condition':
        checkFilters([node.test, node.consequent, node.otherwise], true)
        break
      case 'if':
        checkFilters([node.branches, node.otherwise], true)
        break
      case 'for':
        checkFilters(node.iterable, soft)
        checkFilters([node.test, node.body, node.otherwise], false)
        break
      case 'with':
        checkFilters(node.values, soft)
        checkFilters(node.body, false)
        break
      case 'callBlock':
        checkFilters(node.call, soft)
        checkFilters([node.parameters, node.body], false)
        break
      case 'macro':
      case 'block':
      case 'autoescape':
      case 'filterBlock':
      case 'setBlock': {
        const { type: _, ...parts } = node
        checkFilters(parts, false)
      }
    }
  }
}

const HAS_SCOPE: ReadonlySet<string> = new Set([
  'condition',
  'if',
  'for',
  'with',
  'callBlock',
  'macro',
  'block',
  'autoescape',
  'filterBlock',
  'setBlock',
])
