import { rename, rm } from 'node:fs/promises'
import { fileError } from '../checkpoint/file-errors.js'
import { FEATURE_NAMES } from '../depth/exit-features.js'
import { type QuestionRecord, readQuestions } from './question-file.js'

/** One row of the Parquet file: a layer of one position. */
type Row = Record<string, number | string | null>

const COLUMNS = [
  { name: 'instance', type: 'INT32' as const, nullable: false },
  { name: 'task', type: 'STRING' as const, nullable: false },
  { name: 'position', type: 'INT32' as const, nullable: false },
  { name: 'layer', type: 'INT32' as const, nullable: false },
  ...FEATURE_NAMES.map((name) => ({ name: name as string, type: 'FLOAT' as const, nullable: false })),
  { name: 'top1', type: 'INT32' as const, nullable: false },
  { name: 'top2', type: 'INT32' as const, nullable: false },
  { name: 'gold', type: 'INT32' as const, nullable: true },
]

/** Writes a file of questions as Parquet, a row for each layer of each position; features are of the whole head. Throws FileError. */
export async function exportParquet(questions: string, path: string): Promise<void> {
  const { records } = await readQuestions(questions)
  const temporary = `${path}.${process.pid}.tmp`
  try {
    const { fileWriter, parquetWriteRows } = await import('hyparquet-writer')
    await parquetWriteRows({
      writer: fileWriter(temporary),
      rows: rowsOf(records),
      columns: COLUMNS,
      rowGroupSize: 50_000,
    })
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw fileError(path, error)
  }
}

function* rowsOf(records: readonly QuestionRecord[]): Generator<Row> {
  for (const [instance, { task, golds, position, traces }] of records.entries()) {
    for (const [i, { top1, top2, features }] of traces.entries()) {
      for (const [layer, top] of top1.entries()) {
        const values = FEATURE_NAMES.map((name) => [name, features[name][layer]!])
        const about = { instance, task, position: position + i, layer, gold: golds?.[0] ?? null }
        yield { ...about, ...Object.fromEntries(values), top1: top, top2: top2[layer]! }
      }
    }
  }
}
