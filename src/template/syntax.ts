/** The syntax tree. `line` is the line of the template that an error is told for. */

export interface Keyword {
  readonly name: string
  readonly value: Expression
}

export interface Arguments {
  readonly args: readonly Expression[]
  readonly keywords: readonly Keyword[]
  readonly star: Expression | null
  readonly doubleStar: Expression | null
}

export type BinaryOperator = '+' | '-' | '*' | '/' | '//' | '%' | '**'
export type Comparison = '==' | '!=' | '<' | '<=' | '>' | '>=' | 'in' | 'not in'

export interface Name {
  readonly type: 'name'
  readonly line: number
  readonly name: string
  /** `param` is a name that its scope always holds: a macro's argument, a target of `with`. */
  readonly use: 'load' | 'store' | 'param'
}

export interface NamespaceTarget {
  readonly type: 'namespaceTarget'
  readonly line: number
  readonly name: string
  readonly attribute: string
}

export interface TupleExpression {
  readonly type: 'tuple'
  readonly line: number
  readonly items: readonly Expression[]
}

export type Target = Name | NamespaceTarget | { type: 'tuple'; line: number; items: readonly Target[] }

export interface Call extends Arguments {
  readonly type: 'call'
  readonly line: number
  readonly callee: Expression
}

export interface Filter extends Arguments {
  readonly type: 'filter'
  readonly line: number
  /** null is the text of the block that the filter is applied to. */
  readonly value: Expression | null
  readonly name: string
}

export type Expression =
  | Name
  | NamespaceTarget
  | TupleExpression
  | Call
  | Filter
  | { readonly type: 'constant'; readonly line: number; readonly value: null | boolean | bigint | number | string }
  | { readonly type: 'list'; readonly line: number; readonly items: readonly Expression[] }
  | { readonly type: 'dict'; readonly line: number; readonly pairs: readonly (readonly [Expression, Expression])[] }
  | { readonly type: 'attribute'; readonly line: number; readonly value: Expression; readonly name: string }
  | { readonly type: 'item'; readonly line: number; readonly value: Expression; readonly key: Expression }
  | {
      readonly type: 'slice'
      readonly line: number
      readonly value: Expression
      readonly start: Expression | null
      readonly stop: Expression | null
      readonly step: Expression | null
    }
  | ({ readonly type: 'test'; readonly line: number; readonly value: Expression; readonly name: string } & Arguments)
  | { readonly type: 'not' | 'negative' | 'positive'; readonly line: number; readonly value: Expression }
  | {
      readonly type: 'binary'
      readonly line: number
      readonly operator: BinaryOperator
      readonly left: Expression
      readonly right: Expression
    }
  | { readonly type: 'and' | 'or'; readonly line: number; readonly left: Expression; readonly right: Expression }
  | { readonly type: 'concat'; readonly line: number; readonly items: readonly Expression[] }
  | {
      readonly type: 'compare'
      readonly line: number
      readonly first: Expression
      readonly rest: readonly { readonly operator: Comparison; readonly value: Expression }[]
    }
  | {
      readonly type: 'condition'
      readonly line: number
      readonly test: Expression
      readonly consequent: Expression
      readonly otherwise: Expression | null
    }

export interface Signature {
  readonly parameters: readonly { readonly name: string; readonly default: Expression | null }[]
}

export interface For {
  readonly type: 'for'
  readonly line: number
  readonly target: Target
  readonly iterable: Expression
  readonly test: Expression | null
  readonly recursive: boolean
  readonly body: readonly Statement[]
  readonly otherwise: readonly Statement[]
}

export interface Macro extends Signature {
  readonly type: 'macro'
  readonly line: number
  readonly name: string
  readonly body: readonly Statement[]
}

export interface CallBlock extends Signature {
  readonly type: 'callBlock'
  readonly line: number
  /** null: a `{% generation %}` block, which is its body. */
  readonly call: Call | null
  readonly body: readonly Statement[]
}

export interface Block {
  readonly type: 'block'
  readonly line: number
  readonly name: string
  readonly scoped: boolean
  readonly required: boolean
  readonly body: readonly Statement[]
}

export type Statement =
  | { readonly type: 'text'; readonly line: number; readonly text: string }
  | { readonly type: 'output'; readonly line: number; readonly value: Expression }
  | {
      readonly type: 'if'
      readonly line: number
      readonly branches: readonly {
        readonly line: number
        readonly test: Expression
        readonly body: readonly Statement[]
      }[]
      readonly otherwise: readonly Statement[]
    }
  | For
  | { readonly type: 'set'; readonly line: number; readonly target: Target; readonly value: Expression }
  | {
      readonly type: 'setBlock'
      readonly line: number
      readonly target: Target
      readonly filter: Filter | null
      readonly body: readonly Statement[]
    }
  | Macro
  | CallBlock
  | {
      readonly type: 'filterBlock'
      readonly line: number
      readonly filter: Filter
      readonly body: readonly Statement[]
    }
  | {
      readonly type: 'with'
      readonly line: number
      readonly targets: readonly Target[]
      readonly values: readonly Expression[]
      readonly body: readonly Statement[]
    }
  | {
      readonly type: 'autoescape'
      readonly line: number
      readonly value: Expression
      readonly body: readonly Statement[]
    }
  | Block
  | { readonly type: 'break' | 'continue'; readonly line: number }
  /** Asks for another template, of which there is none. */
  | { readonly type: 'load'; readonly line: number; readonly tag: string; readonly names: readonly Name[] }
