import { type FileMetaData, parquetMetadata, parquetRead, parquetSchema } from 'hyparquet'
import { fileError } from '../checkpoint/file-errors.js'
import { type FileReader, openReader } from '../checkpoint/file-reader.js'
import { comparesLayers, FEATURE_NAMES, type FeatureName } from '../depth/exit-features.js'
import { FileError } from '../errors.js'
import { checkedDecompressor } from './parquet-pages.js'
import { readThrift } from './thrift.js'
import { equalTo, type TraceInstance, type TraceSet } from './traces.js'

const ID_COLUMNS = ['instance', 'position', 'layer', 'top1'] as const
const COLUMNS = [...ID_COLUMNS, 'task', 'gold', ...FEATURE_NAMES] as const

/** `PAR1` as a little-endian number. */
const MAGIC = 0x31524150

type Row = Readonly<Record<string, unknown>>

/** Rows of one (instance, position), layer by layer. */
interface Group {
  readonly instance: number
  readonly position: number
  readonly task: string
  readonly gold: number | null
  readonly top1: number[]
  readonly features: Map<FeatureName, number[]>
}

/**
 * Traces as `shoal trace` writes them: a row per (instance, position, layer), layers ascending from 0, rows of one
 * instance together. Columns: instance, position, layer, top1 (ids), task, gold (id or null), and the features gap,
 * top_prob, entropy, cos_attention, cos_mlp, cos_hidden; others are not read.
 */
export async function readParquetTraces(path: string): Promise<TraceSet> {
  const groups: Group[] = []
  for await (const rows of rowBatches(path)) for (const row of rows) addRow(path, groups, row)
  const layers = groups[0]?.top1.length
  if (layers === undefined) throw new FileError(path, 'the traces file has no rows')
  checkWhole(path, groups)

  const seen = new Set<number>()
  let sequence = -1
  let last: number | null = null
  const instances = groups.map((group): TraceInstance => {
    if (group.instance !== last) {
      if (seen.has(group.instance))
        throw new FileError(path, `rows of instance ${group.instance} do not stand together`)
      seen.add(group.instance)
      sequence++
      last = group.instance
    }
    return {
      task: group.task,
      sequence,
      question: String(sequence),
      features: Object.fromEntries([...group.features].map(([name, values]) => [name, Float64Array.from(values)])),
      top1: Int32Array.from(group.top1),
      agree: equalTo(group.top1, group.top1[layers - 1]!),
      correct: group.gold === null ? null : equalTo(group.top1, group.gold),
    }
  })
  const unit = instances.length > seen.size ? 'generated' : 'answer'
  return { path, layers, unit, checkTokens: null, sequences: seen.size, instances }
}

/** Bytes of a footer at most: what describes 100,000 row groups is no file of traces. */
const MAX_FOOTER_BYTES = 2 * 1024 * 1024
/** Rows that are held as objects at once. Writers make groups of up to a million. */
const MAX_GROUP_ROWS = 4_000_000
/** A row has two features that differ from row to row, so that no writer stores more than so many rows in a byte. */
const MAX_ROWS_PER_BYTE = 2

/** Rows of one row group after the other, so that a long file is not held as objects at once. */
async function* rowBatches(path: string): AsyncGenerator<Row[]> {
  const reader = await openReader(path)
  try {
    const metadata = await readMetadata(reader)
    const present = new Map(parquetSchema(metadata).children.map((column) => [column.element.name, column]))
    for (const column of [...ID_COLUMNS, 'gap', 'top_prob']) {
      if (!present.has(column)) throw new FileError(path, `the traces file lacks the column ${column}`)
    }
    const columns = COLUMNS.filter((column) => present.has(column))
    const nested = columns.find((name) => {
      const { children, element } = present.get(name)!
      return children.length > 0 || element.repetition_type === 'REPEATED'
    })
    if (nested !== undefined) throw new FileError(path, `the column ${nested} is nested`)
    for (const [i, group] of metadata.row_groups.entries()) {
      const rows = Array.from({ length: Number(group.num_rows) }, (): Record<string, unknown> => ({}))
      for (const column of columns) {
        const isNullable = present.get(column)!.element.repetition_type !== 'REQUIRED'
        const values = await readColumn(reader, metadata, i, column, isNullable)
        if (values.length !== rows.length) throw new FileError(path, `the column ${column} lacks values`)
        for (const [row, value] of values.entries()) rows[row]![column] = value
      }
      yield rows
    }
  } catch (error) {
    const known = fileError(path, error)
    if (known instanceof FileError) throw known
    throw new FileError(path, `is not a Parquet file that can be read (${known.message})`, 'file_invalid', {
      cause: error,
    })
  } finally {
    await reader.close()
  }
}

/** The footer, with everything in it checked that says how much there is. */
async function readMetadata(reader: FileReader): Promise<FileMetaData> {
  const { size } = reader
  const end = new Uint8Array(8)
  if (size < 12) throw new RangeError('it is too short')
  await reader.read(end, size - 8)
  const view = new DataView(end.buffer)
  if (view.getUint32(4, true) !== MAGIC) throw new RangeError('it does not end with PAR1')
  const length = view.getUint32(0, true)
  if (length > size - 12 || length > MAX_FOOTER_BYTES) throw new RangeError(`its footer would take ${length} bytes`)
  const footer = new Uint8Array(length + 8)
  await reader.read(footer, size - footer.length)
  readThrift(footer.subarray(0, length))
  const metadata = parquetMetadata(footer)
  let rows = 0
  for (const group of metadata.row_groups) {
    const own = Number(group.num_rows)
    if (!(own >= 0 && own <= MAX_GROUP_ROWS)) throw new RangeError(`it has a row group of ${own} rows`)
    rows += own
  }
  if (rows > MAX_ROWS_PER_BYTE * size) throw new RangeError(`${rows} rows cannot be in ${size} bytes`)
  return metadata
}

/** Values of one column of a row group. */
async function readColumn(
  reader: FileReader,
  metadata: FileMetaData,
  index: number,
  column: string,
  isNullable: boolean,
): Promise<unknown[]> {
  const group = metadata.row_groups[index]!
  const rows = Number(group.num_rows)
  if (rows === 0) return []
  const chunk = group.columns.find(({ meta_data: meta }) => meta?.path_in_schema.join() === column)?.meta_data
  if (chunk === undefined) throw new RangeError(`a row group lacks the column ${column}`)
  const start = Number(chunk.dictionary_page_offset || chunk.data_page_offset)
  const length = Number(chunk.total_compressed_size)
  if (!(start >= 4 && length > 0 && start + length <= reader.size)) {
    throw new RangeError(`the column ${column} lies outside of it`)
  }
  const bytes = new Uint8Array(length)
  await reader.read(bytes, start)
  const values: unknown[] = []
  // One chunk on its own, so that the decompressor sees its pages in order; under one name for all codecs, so that it sees
  // those that are not compressed too.
  const meta = { ...chunk, codec: 'SNAPPY' as const, data_page_offset: 0n, total_compressed_size: BigInt(length) }
  const { dictionary_page_offset: _, ...alone } = meta
  await parquetRead({
    file: { byteLength: length, slice: (from, to = length) => bytes.buffer.slice(from, to) },
    metadata: {
      ...metadata,
      num_rows: group.num_rows,
      row_groups: [{ ...group, columns: [{ ...group.columns[0]!, meta_data: alone }] }],
    },
    columns: [column],
    compressors: { SNAPPY: checkedDecompressor(bytes, chunk, rows, isNullable) },
    onChunk({ columnData }) {
      for (let i = 0; i < columnData.length && values.length < rows; i++) values.push(columnData[i])
    },
  })
  return values
}

/** Told as soon as an instance ends, and not when all are read. */
function checkWhole(path: string, groups: readonly Group[]): void {
  const [first, last] = [groups[0], groups.at(-1)]
  if (first === undefined || last === undefined) return
  const layers = first.top1.length
  if (layers < 2) throw new FileError(path, 'the traces are of a model of one layer')
  if (last.top1.length !== layers) {
    throw new FileError(path, `instance ${last.instance} has ${last.top1.length} layers and the first ${layers}`)
  }
}

function addRow(path: string, groups: Group[], row: Row): void {
  const instance = idOf(path, row, 'instance')
  const position = idOf(path, row, 'position')
  const layer = idOf(path, row, 'layer')
  let group = groups.at(-1)
  if (layer === 0) {
    checkWhole(path, groups)
    const gold = row.gold === null || row.gold === undefined ? null : idOf(path, row, 'gold')
    const task = typeof row.task === 'string' && row.task !== '' ? row.task : 'unnamed'
    group = { instance, position, task, gold, top1: [], features: new Map() }
    groups.push(group)
  } else if (group === undefined || group.instance !== instance || group.position !== position) {
    throw new FileError(path, `instance ${instance}, position ${position}: the rows do not begin with layer 0`)
  }
  if (layer !== group.top1.length) {
    throw new FileError(
      path,
      `instance ${instance}, position ${position}: layer ${layer} follows ${group.top1.length - 1}`,
    )
  }
  group.top1.push(idOf(path, row, 'top1'))
  for (const feature of FEATURE_NAMES) {
    const value = row[feature]
    if (value === undefined) continue
    // There is no layer before the first to compare it with.
    const none = layer === 0 && comparesLayers(feature)
    if (!none && (typeof value !== 'number' || !Number.isFinite(value))) {
      throw new FileError(path, `instance ${instance}, layer ${layer}: ${feature} is not a number`)
    }
    const values = group.features.get(feature) ?? []
    values.push(none ? 0 : (value as number))
    group.features.set(feature, values)
  }
}

/** INT64 columns come as BigInt. */
function idOf(path: string, row: Row, column: string): number {
  const value = row[column]
  const id = typeof value === 'bigint' ? Number(value) : value
  if (typeof id !== 'number' || !Number.isSafeInteger(id) || id < 0) {
    throw new FileError(path, `column ${column} holds ${String(value)} where a whole number of at least 0 must be`)
  }
  return id
}
