import { FileError } from '../errors.js'
import { isJsonObject } from '../json.js'
import type { TaskItem } from './task.js'

/** A non-empty text of a data file, without the spaces at its ends; `where` names it in the error. */
export function textOf(path: string, where: string, value: unknown): string {
  if (typeof value !== 'string') throw new FileError(path, `${where} must be a string`)
  const text = value.trim()
  if (text === '') throw new FileError(path, `${where} is empty`)
  return text
}

/**
 * An item of the form {input, output}; `output` may be a list of gold answers, and `candidates` a list of all that the
 * answer can be.
 * @param labels what the answers of the task can be, where there is such a list
 */
export function itemOf(path: string, where: string, value: unknown, labels?: readonly string[]): TaskItem {
  if (!isJsonObject(value)) throw new FileError(path, `${where} is not an object with input and output`)
  const input = textOf(path, `${where}: input`, value.input)
  const outputs = Array.isArray(value.output) ? value.output : [value.output]
  const [first, ...others] = outputs.map((output) => textOf(path, `${where}: output`, output))
  if (first === undefined) throw new FileError(path, `${where}: output is empty`)
  const answers = [first, ...others] as const
  if (labels !== undefined) {
    const wrong = answers.find((answer) => !labels.includes(answer))
    if (wrong !== undefined) {
      throw new FileError(path, `${where}: output ${JSON.stringify(wrong)} is none of ${labels.join(', ')}`)
    }
  }
  if (value.candidates === undefined) return { input, answers }
  if (!Array.isArray(value.candidates)) throw new FileError(path, `${where}: candidates must be a list of strings`)
  const candidates = value.candidates.map((candidate) => textOf(path, `${where}: a candidate`, candidate))
  if (new Set(candidates).size !== candidates.length) throw new FileError(path, `${where}: a candidate appears twice`)
  if (!answers.every((answer) => candidates.includes(answer))) {
    throw new FileError(path, `${where}: output is not one of the candidates`)
  }
  return { input, answers, candidates }
}
