import { readTextFile } from '../checkpoint/text-file.js'
import { FileError } from '../errors.js'
import { parseCsv } from './csv.js'
import { textOf } from './item.js'
import type { TaskItem } from './task.js'

export const MMLU_LABELS = ['A', 'B', 'C', 'D'] as const

/**
 * One subject of MMLU: CSV `question,A,B,C,D,answer`. Read are the first publication's files (no header, answers A to
 * D) and the later ones (a header, answers 0 to 3).
 */
export async function readMmlu(path: string, subject: string): Promise<TaskItem[]> {
  const records = parseCsv(path, await readTextFile(path))
  const first = records[0]?.fields
  if (first?.[0] === 'question' && first.at(-1) === 'answer') records.shift()
  if (records.length === 0) throw new FileError(path, 'has no questions')
  const digits = /^[0-3]$/.test(records[0]?.fields.at(-1) ?? '')
  return records.map(({ line, fields }) => {
    const where = `line ${line}`
    if (fields.length !== 6) throw new FileError(path, `${where} has ${fields.length} fields instead of 6`)
    const [question, ...choices] = fields.slice(0, 5).map((f, i) => textOf(path, `${where}: field ${i + 1}`, f))
    const answer = digits ? MMLU_LABELS[indexOf(fields[5])] : MMLU_LABELS.find((label) => label === fields[5])
    if (answer === undefined) {
      throw new FileError(path, `${where}: the answer must be ${digits ? '0, 1, 2 or 3' : 'A, B, C or D'}`)
    }
    const lines = choices.map((choice, i) => `${MMLU_LABELS[i]}. ${choice}`)
    return { input: [question, ...lines].join('\n'), answers: [answer], subject }
  })
}

function indexOf(digit: string | undefined): number {
  return digit !== undefined && /^[0-3]$/.test(digit) ? Number(digit) : -1
}
