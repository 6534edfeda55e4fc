import { createReadStream } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { fileError } from '../checkpoint/file-errors.js'
import { damaged, openJournal, parseLine, type RunFacts } from '../checkpoint/journal.js'
import { FEATURE_NAMES } from '../depth/exit-features.js'
import type { JsonObject } from '../json.js'
import type { PositionTrace } from './record.js'
import type { TraceRecord } from './trace-task.js'

/** One row of the Parquet file: a layer of one position. */
type Row = Record<string, number | string | null>

/**
 * A traces file that is being written. Records go to `path`.partial, a line each, so that a run that is stopped goes on
 * where it was; at the end they become one Parquet file, and the partial one goes.
 */
export interface TraceFile {
  /** Instances that the partial file holds already. */
  readonly done: ReadonlySet<number>
  append(record: TraceRecord): void
  /** Writes the Parquet file. */
  finish(): Promise<void>
  /** Lets another process go on; to be called in the end, finished or not. */
  close(): void
}

/**
 * Opens the partial file of `path`, or begins one.
 * @param run what the traces are of; a partial file of another run is refused
 */
export function openTraceFile(path: string, run: RunFacts): TraceFile {
  const partial = `${path}.partial`
  const done = new Set<number>()
  const journal = openJournal(partial, 'shoal-traces', run, (record, line) => {
    done.add(checkRecord(partial, record, line).instance)
  })
  return {
    done,
    close: () => journal.close(),
    append: (record) => journal.append({ ...record, traces: record.traces.map(storedTrace) }),
    async finish() {
      const temporary = `${path}.${process.pid}.tmp`
      try {
        const { fileWriter, parquetWriteRows } = await import('hyparquet-writer')
        await parquetWriteRows({
          writer: fileWriter(temporary),
          rows: rowsOf(partial),
          columns: COLUMNS,
          rowGroupSize: 50_000,
        })
        await rename(temporary, path)
        await rm(partial)
      } catch (error) {
        await rm(temporary, { force: true })
        throw fileError(path, error)
      }
    },
  }
}

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

async function* rowsOf(path: string): AsyncGenerator<Row> {
  let number = 0
  for await (const line of createInterface({ input: createReadStream(path) })) {
    number++
    if (number === 1) continue
    const { instance, task, gold, position, traces } = checkRecord(path, parseLine(path, line, number), number)
    for (const [i, trace] of traces.entries()) {
      for (const [layer, top1] of trace.top1.entries()) {
        const features = FEATURE_NAMES.map((name) => [name, trace[name][layer] as number])
        const top2 = trace.top2[layer] as number
        yield { instance, task, position: position + i, layer, ...Object.fromEntries(features), top1, top2, gold }
      }
    }
  }
}

/** A position's trace as JSON has it. */
export type StoredTrace = Record<(typeof FEATURE_NAMES)[number] | 'top1' | 'top2', number[]>

export function storedTrace({ top1, top2, features }: PositionTrace): StoredTrace {
  return {
    top1: Array.from(top1),
    top2: Array.from(top2),
    ...(Object.fromEntries(FEATURE_NAMES.map((name) => [name, Array.from(features[name])])) as Record<
      (typeof FEATURE_NAMES)[number],
      number[]
    >),
  }
}

type StoredRecord = Omit<TraceRecord, 'traces'> & { traces: StoredTrace[] }

function checkRecord(path: string, record: JsonObject, line: number): StoredRecord {
  if (!Number.isSafeInteger(record.instance) || !Array.isArray(record.traces)) throw damaged(path, line)
  return record as unknown as StoredRecord
}
