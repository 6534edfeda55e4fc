import { readTextFile } from '../checkpoint/text-file.js'
import { FileError } from '../errors.js'
import { CONFIG_LIMITS, parseJson } from '../json.js'
import { itemOf } from './item.js'
import type { TaskItem } from './task.js'

/** A user's own task: one {input, output} object a line; empty lines are passed over. */
export async function readJsonLines(path: string): Promise<TaskItem[]> {
  const items: TaskItem[] = []
  ;(await readTextFile(path)).split('\n').forEach((line, i) => {
    if (line.trim() === '') return
    const where = `line ${i + 1}`
    items.push(itemOf(path, where, parseJson(path, line, `text of ${where}`, CONFIG_LIMITS)))
  })
  if (items.length === 0) throw new FileError(path, 'has no items')
  return items
}
