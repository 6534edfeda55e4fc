import {
  appendFileSync,
  createReadStream,
  existsSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { isAlive } from '../checkpoint/atomic-file.js'
import { fileError } from '../checkpoint/file-errors.js'
import { FEATURE_NAMES } from '../depth/exit-features.js'
import { FileError } from '../errors.js'
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
export function openTraceFile(path: string, run: Readonly<Record<string, unknown>>): TraceFile {
  const partial = `${path}.partial`
  const unlock = lock(partial)
  const header = JSON.stringify({ format: 'shoal-traces', version: 1, run })
  const done = new Set<number>()
  try {
    if (existsSync(partial)) readPartial(partial, header, done)
    else appendFileSync(partial, `${header}\n`)
  } catch (error) {
    unlock()
    throw fileError(partial, error)
  }
  return {
    done,
    close: unlock,
    append(record) {
      const traces = record.traces.map(({ top1, top2, features }) => ({
        top1: Array.from(top1),
        top2: Array.from(top2),
        ...Object.fromEntries(FEATURE_NAMES.map((name) => [name, Array.from(features[name])])),
      }))
      try {
        appendFileSync(partial, `${JSON.stringify({ ...record, traces })}\n`)
      } catch (error) {
        throw fileError(partial, error)
      }
    },
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

/** Two processes that write one partial file would write everything twice. Returns what takes the lock away. */
function lock(partial: string): () => void {
  const path = `${partial}.lock`
  const own = String(process.pid)
  try {
    writeFileSync(path, own, { flag: 'wx' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw fileError(partial, error)
    const owner = Number(readFileSync(path, 'utf8'))
    if (owner !== process.pid && isAlive(owner)) {
      throw new FileError(partial, `process ${owner} is writing these traces`)
    }
    writeFileSync(path, own)
  }
  return () => rmSync(path, { force: true })
}

/** Collects the instances of a partial file; a last line that a stop cut off is cut away. */
function readPartial(path: string, header: string, done: Set<number>): void {
  const text = readFileSync(path, 'utf8')
  const whole = text.slice(0, text.lastIndexOf('\n') + 1)
  const [first, ...lines] = whole.split('\n').slice(0, -1)
  if (first !== header) {
    throw new FileError(path, 'holds the traces of another run; remove it, or choose another name')
  }
  if (whole.length < text.length) truncateSync(path, Buffer.byteLength(whole))
  lines.forEach((line, i) => {
    done.add(parseRecord(path, line, i + 2).instance)
  })
}

async function* rowsOf(path: string): AsyncGenerator<Row> {
  let number = 0
  for await (const line of createInterface({ input: createReadStream(path) })) {
    number++
    if (number === 1) continue
    const { instance, task, gold, position, traces } = parseRecord(path, line, number)
    for (const [i, trace] of traces.entries()) {
      for (const [layer, top1] of trace.top1.entries()) {
        const features = FEATURE_NAMES.map((name) => [name, trace[name][layer] as number])
        const top2 = trace.top2[layer] as number
        yield { instance, task, position: position + i, layer, ...Object.fromEntries(features), top1, top2, gold }
      }
    }
  }
}

type StoredTrace = Record<(typeof FEATURE_NAMES)[number] | 'top1' | 'top2', number[]>

function parseRecord(
  path: string,
  line: string,
  number: number,
): Omit<TraceRecord, 'traces'> & { traces: StoredTrace[] } {
  try {
    const record = JSON.parse(line)
    if (Number.isSafeInteger(record.instance) && Array.isArray(record.traces)) return record
  } catch {
    // Told below.
  }
  throw new FileError(path, `line ${number} is damaged; remove the file to begin anew`)
}
