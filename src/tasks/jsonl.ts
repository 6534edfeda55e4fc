import { readTextFile } from '../checkpoint/text-file.js'
import { FileError } from '../errors.js'
import { itemOf } from './item.js'
import type { TaskItem } from './task.js'

/** A user's own task: one {input, output} object a line; empty lines are passed over. */
export async function readJsonLines(path: string): Promise<TaskItem[]> {
  const items: TaskItem[] = []
  ;(await readTextFile(path)).split('\n').forEach((line, i) => {
    if (line.trim() === '') return
    let value: unknown
    try {
      value = JSON.parse(line)
    } catch (error) {
      throw new FileError(path, `line ${i + 1} is not JSON`, 'file_invalid', { cause: error })
    }
    items.push(itemOf(path, `line ${i + 1}`, value))
  })
  if (items.length === 0) throw new FileError(path, 'has no items')
  return items
}
