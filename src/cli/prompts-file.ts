import { FileError } from '../errors.js'
import { CONFIG_LIMITS, isJsonObject, parseJson } from '../json.js'
import { didYouMean } from '../nearest-name.js'
import type { AllowEmptyOption } from './model-or-prompt.js'
import { readTextFile } from './text-input.js'

/** One line of a prompts file. */
export interface PromptLine {
  /** Which line with a prompt, from 0. */
  readonly index: number
  readonly id?: string | number
  readonly prompt: string | readonly number[]
}

const FIELDS = ['prompt', 'tokens', 'id']

/**
 * Reads `{"prompt": "…"}` and `{"tokens": [ids]}` lines, each with an optional `id`; empty lines are passed over. A field
 * of another name is refused: an option that stands on a line would be ignored without a word.
 */
export async function readPromptsFile(path: string, { allowEmpty = false }: AllowEmptyOption): Promise<PromptLine[]> {
  const text = await readTextFile(path)
  const prompts: PromptLine[] = []
  text.split('\n').forEach((line, i) => {
    if (line.trim() !== '') prompts.push(parseLine(path, line, i + 1, prompts.length, allowEmpty))
  })
  if (prompts.length === 0) throw new FileError(path, 'has no prompts')
  return prompts
}

function parseLine(path: string, line: string, number: number, index: number, allowEmpty: boolean): PromptLine {
  const value = parseJson(path, line, `text of line ${number}`, CONFIG_LIMITS)
  if (!isJsonObject(value)) throw new FileError(path, `line ${number} is not an object`)
  const unknown = Object.keys(value).find((field) => !FIELDS.includes(field))
  if (unknown !== undefined) {
    throw new FileError(
      path,
      `line ${number}: unknown field ${JSON.stringify(unknown.slice(0, 80))}; a line has prompt or tokens, and id${didYouMean(unknown, FIELDS)}`,
    )
  }
  const { id, prompt, tokens } = value
  if (id !== undefined && typeof id !== 'string' && typeof id !== 'number') {
    throw new FileError(path, `line ${number}: id must be a string or a number`)
  }
  const named = id === undefined ? { index } : { index, id }
  if (typeof prompt === 'string' && tokens === undefined) {
    if (prompt.trim() === '' && !allowEmpty)
      throw new FileError(path, `line ${number}: the prompt is empty; --allow-empty runs it as it is`)
    return { ...named, prompt }
  }
  if (Array.isArray(tokens) && prompt === undefined && tokens.length > 0 && tokens.every(isTokenId)) {
    return { ...named, prompt: tokens }
  }
  throw new FileError(path, `line ${number} must have either "prompt" (a string) or "tokens" (a list of ids)`)
}

function isTokenId(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
