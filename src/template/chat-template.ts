import { InputError } from '../errors.js'
import { Program } from './execute.js'
import { fromJson } from './from-json.js'
import { GLOBALS } from './globals.js'
import { checkTemplate } from './names.js'
import { parseTemplate } from './parser.js'
import { Run, TemplateError } from './run.js'
import { Scope } from './scope.js'
import type { Value } from './values.js'

/** One entry of a conversation: a role, its content, and what else the template knows, such as `tool_calls`. */
export type ChatMessage = Readonly<Record<string, unknown>>

export interface ChatInput {
  readonly messages: readonly ChatMessage[]
  /** End where the answer begins; default true. */
  readonly addGenerationPrompt?: boolean
  /** JSON schemas of functions; none when left out. */
  readonly tools?: readonly unknown[] | null
  readonly documents?: readonly unknown[] | null
  /** Variables that only some templates know, such as `enable_thinking`. They hide special tokens of the same name. */
  readonly variables?: Readonly<Record<string, unknown>>
}

export interface ChatTemplate {
  /**
   * The text of a conversation.
   * @throws InputError naming the template's line where it fails, refuses the conversation or goes beyond its limits
   */
  render(input: ChatInput): string
}

export interface ChatTemplateOptions {
  /** Where the template comes from, for errors. */
  readonly path?: string
  /** Tokens by the names that templates know them by, `bos_token` for one; those that a tokenizer lacks are left out. */
  readonly specialTokens?: Readonly<Record<string, string | readonly string[]>>
  /** What `strftime_now` shows; default the present. */
  readonly now?: () => Date
}

/** A message of this many characters tells what it has to tell. */
const MAX_MESSAGE = 160

/**
 * A chat template that renders as Jinja2 does where it is set up as transformers sets it up: a sandbox in which nothing changes,
 * `trim_blocks`, `lstrip_blocks`, `break` and `continue`, `{% generation %}`, `tojson` without HTML's escapes.
 *
 * Numbers of the input that are whole are integers: JavaScript does not tell 1.0 from 1.
 * @throws InputError naming the line where the template is not valid
 */
export function createChatTemplate(source: string, options: ChatTemplateOptions = {}): ChatTemplate {
  const { path, specialTokens = {}, now = () => new Date() } = options
  const program = guarded(path, () => {
    const body = parseTemplate(source)
    checkTemplate(body)
    return new Program(body)
  })
  return {
    render: (input) =>
      guarded(path, () => {
        const run = new Run(now)
        return program.render(Scope.outermost(variablesOf(input, specialTokens, run)), run)
      }),
  }
}

function* variablesOf(
  { messages, addGenerationPrompt = true, tools = null, documents = null, variables = {} }: ChatInput,
  specialTokens: Readonly<Record<string, unknown>>,
  run: Run,
): Iterable<readonly [string, Value]> {
  yield* GLOBALS
  for (const [name, value] of Object.entries({ ...specialTokens, ...variables })) {
    if (value !== undefined) yield [name, fromJson(value, run)]
  }
  yield ['messages', fromJson(messages.map(normalized), run)]
  yield ['tools', fromJson(tools, run)]
  yield ['documents', fromJson(documents, run)]
  yield ['add_generation_prompt', addGenerationPrompt]
}

const REASONING = ['reasoning_content', 'thinking', 'reasoning']

/** As transformers does: what is null is left out, and reasoning goes by the names that templates read. */
function normalized(message: ChatMessage): ChatMessage {
  if (typeof message !== 'object' || message === null) throw new TemplateError('a message is an object')
  const entries = Object.entries(message).filter(([, value]) => value !== null && value !== undefined)
  const given = new Map(entries)
  const name = REASONING.find((candidate) => given.has(candidate))
  if (name === undefined) return Object.fromEntries(entries)
  const reasoning = given.get(name)
  return Object.fromEntries(new Map([['thinking', reasoning], ...entries, ['reasoning_content', reasoning]]))
}

function guarded<T>(path: string | undefined, action: () => T): T {
  try {
    return action()
  } catch (error) {
    const failure = asTemplateError(error)
    const where = failure.line === undefined ? '' : ` line ${failure.line}`
    const prefix = path === undefined ? '' : `${shortened(path, 100)}: `
    const message = `${prefix}chat template${where}: ${shortened(failure.message, MAX_MESSAGE)}`
    throw new InputError(message, 'input_invalid', { cause: error })
  }
}

function asTemplateError(error: unknown): TemplateError {
  if (error instanceof TemplateError) return error
  // The stack of the program itself may have been deep before.
  if (error instanceof RangeError) return new TemplateError('the template or a value is nested too deeply')
  throw error
}

/** One line of printable characters. */
function shortened(text: string, length: number): string {
  const line = text
    .slice(0, 2 * length)
    .replace(/[\p{C}\p{Z}]+/gu, ' ')
    .trim()
  return line.length <= length ? line : `${line.slice(0, length - 1)}…`
}
