import type { Token, TokenType } from './lexer.js'
import { TemplateError } from './run.js'

/** Levels of parentheses, of operators and of blocks. */
const MAX_NESTING = 180

/** A list of tokens and a place in it. */
export class TokenStream {
  private position = 0
  private nesting = 0

  constructor(private readonly tokens: readonly Token[]) {}

  get current(): Token {
    return this.tokens[this.position]!
  }

  look(): Token {
    return this.tokens[this.position + 1] ?? this.current
  }

  next(): Token {
    const token = this.current
    if (token.type !== 'eof') this.position++
    return token
  }

  is(type: TokenType, text?: string): boolean {
    const { current } = this
    return current.type === type && (text === undefined || current.text === text)
  }

  isOperator(...operators: readonly string[]): boolean {
    return this.current.type === 'operator' && operators.includes(this.current.text)
  }

  isName(...names: readonly string[]): boolean {
    return this.current.type === 'name' && names.includes(this.current.text)
  }

  skipIf(type: TokenType, text: string): boolean {
    const found = this.is(type, text)
    if (found) this.next()
    return found
  }

  expect(type: TokenType, text?: string): Token {
    if (!this.is(type, text))
      this.fail(`expected ${text === undefined ? described(type) : `'${text}'`}, found ${this.found()}`)
    return this.next()
  }

  /** What the current token is, for a message. */
  found(): string {
    const { type, text } = this.current
    return type === 'name' || type === 'operator' ? `'${text}'` : described(type)
  }

  fail(message: string, line = this.current.line): never {
    throw new TemplateError(message, line)
  }

  /** Parses one level deeper. */
  nested<T>(parse: () => T): T {
    if (++this.nesting > MAX_NESTING) this.fail('the template is nested too deeply')
    const result = parse()
    this.nesting--
    return result
  }
}

function described(type: TokenType): string {
  switch (type) {
    case 'eof':
      return 'the end of the template'
    case 'block_end':
      return "'%}'"
    case 'variable_end':
      return "'}}'"
    case 'block_begin':
      return "'{%'"
    case 'variable_begin':
      return "'{{'"
    case 'data':
      return 'text'
    default:
      return `a ${type}`
  }
}
