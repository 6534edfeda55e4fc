import { readTextFile } from '../checkpoint/text-file.js'
import { FileError } from '../errors.js'
import { parseJson } from '../json.js'
import { itemOf } from './item.js'
import type { TaskItem } from './task.js'

/**
 * A JSON list of {input, output}, the format of Todd et al. 2024 (function_vectors/dataset_files).
 * @param labels what outputs can be
 */
export async function readFunctionVectors(path: string, labels?: readonly string[]): Promise<TaskItem[]> {
  const text = await readTextFile(path)
  const list = parseJson(path, text, '')
  if (!Array.isArray(list)) throw new FileError(path, 'is not a JSON list of {"input", "output"} objects')
  if (list.length === 0) throw new FileError(path, 'has no items')
  return list.map((value: unknown, i) => {
    // Lines are looked up only for an error: the file may have thousands of items.
    try {
      return itemOf(path, '', value, labels)
    } catch {
      return itemOf(path, `line ${lineOfItem(text, i)}`, value, labels)
    }
  })
}

/** The line on which element `index` of the JSON list in `text` begins, from 1; the text must have parsed. */
function lineOfItem(text: string, index: number): number {
  let line = 1
  let depth = 0
  let seen = -1
  for (let i = 0; i < text.length; i++) {
    const c = text[i] as string
    if (c === '\n') line++
    if (/[\s,:]/.test(c)) continue
    if (c === ']' || c === '}') {
      depth--
      continue
    }
    if (depth === 1 && ++seen === index) return line
    if (c === '[' || c === '{') depth++
    else if (c === '"') {
      for (i++; text[i] !== '"'; i++) if (text[i] === '\\') i++
    } else while (/[^\s,:\]}]/.test(text[i + 1] as string)) i++
  }
  return line
}
