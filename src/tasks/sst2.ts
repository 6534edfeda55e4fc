import { readTextFile } from '../checkpoint/text-file.js'
import { FileError } from '../errors.js'
import { textOf } from './item.js'
import type { TaskItem } from './task.js'

/** What the labels 0 and 1 of the file stand for. */
export const SST2_LABELS = ['negative', 'positive'] as const

/** SST-2 sentences: `label<TAB>text` lines without a header. */
export async function readSst2(path: string): Promise<TaskItem[]> {
  const items: TaskItem[] = []
  ;(await readTextFile(path)).split('\n').forEach((raw, i) => {
    const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw
    if (line === '') return
    const fields = line.split('\t')
    if (fields.length !== 2) throw new FileError(path, `line ${i + 1} is not "label<TAB>text"`)
    const label = fields[0] === '0' || fields[0] === '1' ? SST2_LABELS[fields[0]] : undefined
    if (label === undefined) throw new FileError(path, `line ${i + 1}: the label must be 0 or 1`)
    items.push({ input: textOf(path, `line ${i + 1}: text`, fields[1]), answers: [label] })
  })
  if (items.length === 0) throw new FileError(path, 'has no items')
  return items
}
