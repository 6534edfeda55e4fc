import { readJsonFile } from '../checkpoint/text-file.js'
import { FileError, UnsupportedError } from '../errors.js'
import { isJsonObject, type JsonObject } from '../json.js'
import { textOf } from './item.js'
import type { TaskItem } from './task.js'

/** SQuAD 1.1 in its JSON format; an input is the paragraph and, on a line of its own, the question. */
export async function readSquad(path: string): Promise<TaskItem[]> {
  const file = await readJsonFile(path)
  if (typeof file.version === 'string' && !file.version.startsWith('1')) {
    throw new UnsupportedError(`${path}: SQuAD version ${file.version} is not supported; version 1.1 is`)
  }
  const items: TaskItem[] = []
  for (const [article, a] of objects(path, 'data', file.data)) {
    for (const [paragraph, b] of objects(path, `${article}.paragraphs`, a.paragraphs)) {
      const context = textOf(path, `${paragraph}.context`, b.context)
      for (const [question, c] of objects(path, `${paragraph}.qas`, b.qas)) {
        const answers = objects(path, `${question}.answers`, c.answers).map(([where, answer]) => {
          const text = textOf(path, `${where}.text`, answer.text)
          if (!context.includes(text)) throw new FileError(path, `${where}.text is not in its paragraph`)
          return text
        })
        const [first, ...others] = new Set(answers)
        if (first === undefined) throw new FileError(path, `${question} has no answers`)
        const input = `${context}\n${textOf(path, `${question}.question`, c.question)}`
        items.push({ input, answers: [first, ...others] })
      }
    }
  }
  if (items.length === 0) throw new FileError(path, 'has no questions')
  return items
}

/** The objects of a JSON list, each with its place in the file. */
function objects(path: string, where: string, list: unknown): [where: string, value: JsonObject][] {
  if (!Array.isArray(list)) throw new FileError(path, `${where} is not a list`)
  return list.map((value: unknown, i) => {
    if (!isJsonObject(value)) throw new FileError(path, `${where}[${i}] is not an object`)
    return [`${where}[${i}]`, value]
  })
}
