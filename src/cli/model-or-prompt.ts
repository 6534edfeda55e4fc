import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname } from 'node:path'
import type { Command } from 'commander'
import { bundledModels, DEFAULT_MODEL } from '../convert/package.js'
import { FileError } from '../errors.js'
import { parseHubId } from '../hub/hub-id.js'
import { nearestNames } from '../nearest-name.js'
import { type Cli, UsageError } from './cli.js'
import { readAll } from './text-input.js'

export interface AllowEmptyOption {
  readonly allowEmpty?: boolean
}

export function addAllowEmptyOption(command: Command): Command {
  return command.option('--allow-empty', 'also run a prompt that is empty or white space only')
}

/** What `[MODEL] [PROMPT]` came to. */
export interface ModelAndPrompt {
  /** undefined: the bundled model. */
  readonly model: string | undefined
  readonly prompt: string
}

/** The name of a file, not of a sentence. */
const MODEL_LIKE = /^(\.{0,2}\/\S*|~\/\S*|[\w.-]+\/[\w.-]+|.+\.(gguf|safetensors)|[a-z]:\\.*)$/i
/** A path that may have spaces. */
const PATH_LIKE = /^(\.{1,2}|~)?\/.+$/

/** Longer arguments are prompts: no system has longer paths. */
const LONGEST_PATH = 4096

/**
 * Tells a model from a text. Of two arguments the first is the model. One is the model where it names a file, a folder or a
 * bundled model, or has the form of one on the Hub, and else the text; what only looks like a model's name is an error,
 * because nobody wants a path to be read as text.
 * @throws FileError for a model that does not exist
 */
export function modelAndText(
  command: string,
  first: string | undefined,
  second: string | undefined,
): { readonly model: string | undefined; readonly text: string | undefined } {
  const isModel = second !== undefined || (first !== undefined && namesModel(command, first))
  return isModel ? { model: first, text: second } : { model: undefined, text: first }
}

/**
 * The same where there must be a prompt: without one stdin is read where it is no terminal, and where the prompt is `-`.
 * @throws UsageError where there is no prompt, or an empty one; FileError for a model that does not exist
 */
export async function modelAndPrompt(
  cli: Cli,
  command: string,
  first: string | undefined,
  second: string | undefined,
  { allowEmpty = false }: AllowEmptyOption,
): Promise<ModelAndPrompt> {
  if (first === '-' && second !== undefined)
    throw new UsageError('- stands for a prompt from stdin, and nothing goes behind it')
  const { model, text: given } = modelAndText(command, first, second)
  if (given !== undefined && given !== '-') return { model, prompt: notEmpty(given, allowEmpty) }
  if (given === undefined && cli.stdin.isTTY === true) throw missing(command, model, '')
  const prompt = await readAll(cli)
  if (prompt === '' && given === undefined && !allowEmpty) throw missing(command, model, ', and stdin is empty')
  return { model, prompt: notEmpty(prompt, allowEmpty) }
}

function namesModel(command: string, name: string): boolean {
  if (name === '' || name === '-' || name.length > LONGEST_PATH) return false
  const bundled = bundledModels()
  if (bundled.includes(name) || existsSync(name)) return true
  if (!/\s/.test(name) && parseHubId(name) !== null) return true
  const [nearest] = nearestNames(name, bundled, 2)
  if (!MODEL_LIKE.test(name) && !isInFolder(name) && nearest === undefined) return false
  const meant = nearest === undefined ? '' : `; did you mean ${nearest}?`
  throw new FileError(
    name,
    `no such file, folder or bundled model${meant}; a text like this goes behind its model: shoal ${command} ${DEFAULT_MODEL} TEXT`,
    'file_missing',
  )
}

/** Whether this is a path into a folder that exists. The root always does, and says nothing. */
function isInFolder(name: string): boolean {
  if (!PATH_LIKE.test(name)) return false
  const parent = dirname(name.replace(/^~/, homedir()))
  return parent !== '/' && existsSync(parent)
}

/** Refuses an argument that is no model, where an option gives the prompt. */
export function onlyModel(
  command: string,
  first: string | undefined,
  second: string | undefined,
  option: string,
): void {
  if (modelAndText(command, first, second).text !== undefined)
    throw new UsageError(`a PROMPT does not stand beside ${option}; the one argument may be a model`)
}

function missing(command: string, model: string | undefined, why: string): UsageError {
  const taken = model === undefined ? '' : `: ${model} is the model`
  return new UsageError(`a PROMPT is missing${taken}${why}; shoal ${command} --help shows examples`)
}

/** A prompt that says something, unless an empty one is allowed. */
export function notEmpty(prompt: string, allowEmpty: boolean, where = 'the prompt'): string {
  if (prompt.trim() !== '' || allowEmpty) return prompt
  const what = prompt === '' ? 'empty' : 'of white space only'
  throw new UsageError(`${where} is ${what}; --allow-empty runs it as it is`)
}
