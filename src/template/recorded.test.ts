import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { InputError } from '../errors.js'
import { type ChatInput, createChatTemplate } from './index.js'

const FOLDER = 'test/fixtures/templates'

/** A text, or the line of an error; an empty list is an error without a line. */
type Result = string | readonly [] | readonly [number]

interface Conversation {
  readonly messages: ChatInput['messages']
  readonly add_generation_prompt: boolean
  readonly tools?: readonly unknown[]
  readonly documents?: readonly unknown[]
  readonly variables?: Record<string, unknown>
}

function read<T>(name: string): T {
  return JSON.parse(readFileSync(`${FOLDER}/${name}`, 'utf8')) as T
}

function render(template: string, { add_generation_prompt: addGenerationPrompt, ...rest }: Conversation): Result {
  try {
    return createChatTemplate(template, {
      specialTokens: { bos_token: '<s>', eos_token: '</s>', pad_token: '<pad>' },
      now: () => new Date(2024, 6, 5, 9, 3, 7),
    }).render({ ...rest, addGenerationPrompt })
  } catch (error) {
    if (!(error instanceof InputError)) throw error
    const line = /^chat template line (\d+): /.exec(error.message)?.[1]
    return line === undefined ? [] : [Number(line)]
  }
}

/** Jinja2 tells no line of some errors; any will do then. */
function alike(result: Result, recorded: Result): Result {
  return Array.isArray(recorded) && recorded.length === 0 && Array.isArray(result) ? recorded : result
}

const PLAIN: Conversation = {
  messages: [
    { role: 'user', content: 'Hi' },
    { role: 'assistant', content: 'Hello' },
  ],
  add_generation_prompt: false,
}

describe('renders as Jinja2 does', () => {
  for (const name of ['expressions', 'constructs', 'errors']) {
    const cases = read<readonly (readonly [string, Result])[]>(`${name}.json`)
    it(`${cases.length} templates of ${name}`, () => {
      for (const [template, recorded] of cases) {
        expect(alike(render(template, PLAIN), recorded), template).toEqual(recorded)
      }
    })
  }

  const conversations = Object.entries(read<Record<string, Conversation>>('conversations.json'))
  const families = read<Record<string, Record<string, Result>>>('families.json')
  for (const file of readdirSync(`${FOLDER}/families`)) {
    it(`${conversations.length} conversations by the template ${file}`, () => {
      const template = readFileSync(`${FOLDER}/families/${file}`, 'utf8')
      for (const [name, conversation] of conversations) {
        const recorded = families[file]![name]!
        expect(alike(render(template, conversation), recorded), name).toEqual(recorded)
      }
    })
  }
})
